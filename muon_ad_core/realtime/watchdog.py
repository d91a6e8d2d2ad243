# SPDX-License-Identifier: Apache-2.0
"""Tell a worker that hangs from one that is busy, slow or has nothing to do."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST_BUSY = 60.0  # seconds a silent process may be busy (with loading an engine, say)
_TICKS = os.sysconf("SC_CLK_TCK")


class Watchdog:
    """Watches one worker by its reports; times are monotonic seconds.

    A worker hangs when it has been silent for `silence` seconds in which its process did not run, or busily silent for
    `LONGEST_BUSY`; or when it reports but has finished nothing for `silence` seconds while frames were superseded,
    which only happens when its working thread does not take them.
    """

    def __init__(self, silence: float, now: float) -> None:
        self.silence = silence
        self._heard_at = now
        self._ran_at = now
        self._progress_at = now
        self._cpu_seconds = -1.0
        self._finished = -1
        self._superseded = 0

    def heard(self, finished: int, superseded: int, now: float) -> None:
        """A report came: counts of frames finished in whatever way, and of frames superseded."""
        self._heard_at = now
        if finished != self._finished or superseded == self._superseded:
            self._progress_at = now
        self._finished, self._superseded = finished, superseded

    def verdict(self, cpu_seconds: float, now: float) -> str:
        """Why the worker counts as hanging; empty when it does not. `cpu_seconds`: processor time it has used."""
        if cpu_seconds != self._cpu_seconds:
            self._cpu_seconds, self._ran_at = cpu_seconds, now
        silent_for = now - self._heard_at
        if silent_for >= self.silence and now - self._ran_at >= self.silence:
            return f"silent for {silent_for:.1f} s without running"
        if silent_for >= LONGEST_BUSY:
            return f"silent for {silent_for:.0f} s, busy"
        if silent_for < self.silence and now - self._progress_at >= self.silence:
            return f"no frame finished for {now - self._progress_at:.1f} s while newer ones came"
        return ""


def cpu_seconds(pid: int) -> float | None:
    """Processor time a process has used; None when there is none of that id."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime, see proc(5)


def runs_node(pid: int, name: str) -> bool:
    """Whether process `pid` of this machine is the ROS node `name` (without namespace), by its command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.endswith(name.encode()) for word in command) and any(b"muon_ad_ros" in word for word in command)
