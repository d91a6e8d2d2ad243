# SPDX-License-Identifier: Apache-2.0
"""Tell a worker that hangs from one that is busy, slow or has nothing to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LONGEST_BUSY = 60.0  # seconds a process may be busy (with loading an engine, say) without a sign of progress
_TICKS = os.sysconf("SC_CLK_TCK")


class Watchdog:
    """Watches one worker by its reports and its process; times are monotonic seconds.

    A worker hangs when it has been silent for `silence` seconds in which its process neither ran nor waited for a
    processor; or when it reports but has finished nothing for so long while frames were superseded, which only happens
    when its working thread does not take them. One that is busy, or starved by others, is left alone for
    `LONGEST_BUSY`.
    """

    def __init__(self, silence: float, now: float) -> None:
        self.silence = silence
        self._heard_at = now
        self._progress_at = now
        self._idle_since = now
        self._cpu_seconds = -1.0
        self._finished = -1
        self._superseded = 0

    def heard(self, finished: int, superseded: int, now: float) -> None:
        """A report came: counts of frames finished in whatever way, and of frames superseded."""
        self._heard_at = now
        if finished != self._finished or superseded == self._superseded:
            self._progress_at = now
        self._finished, self._superseded = finished, superseded

    def verdict(self, process: ProcessState, now: float) -> str:
        """Why the worker counts as hanging; empty when it does not."""
        if process.runnable or process.cpu_seconds != self._cpu_seconds:
            self._idle_since = now
        self._cpu_seconds = process.cpu_seconds
        silent_for, stuck_for = now - self._heard_at, now - self._progress_at
        if silent_for >= self.silence and now - self._idle_since >= self.silence:
            return f"silent for {silent_for:.1f} s without running"
        if silent_for >= LONGEST_BUSY:
            return f"silent for {silent_for:.0f} s, busy"
        if silent_for < self.silence and stuck_for >= (LONGEST_BUSY if process.runnable else self.silence):
            return f"no frame finished for {stuck_for:.1f} s while newer ones came"
        return ""


@dataclass(frozen=True)
class ProcessState:
    """One look at a process."""

    cpu_seconds: float  # processor time it has used
    runnable: bool  # whether a thread of it runs, or waits for a processor or the disk


def read_process_state(pid: int) -> ProcessState | None:
    """The state of process `pid`; None when there is none of that id."""
    seconds, runnable = 0.0, False
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            stat = (task / "stat").read_text(encoding="ascii", errors="replace")
            fields = stat.rpartition(")")[2].split()  # state, ...; fields 14 and 15 of proc(5) are utime and stime
            seconds += (int(fields[11]) + int(fields[12])) / _TICKS
            runnable = runnable or fields[0] in "RD"
    except OSError:
        return None
    return ProcessState(seconds, runnable)


def runs_node(pid: int, name: str) -> bool:
    """Whether process `pid` of this machine is the ROS node `name` (without namespace), by its command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.endswith(name.encode()) for word in command) and any(b"muon_ad_ros" in word for word in command)
