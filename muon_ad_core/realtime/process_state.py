# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells about a process of this machine: which node it is, whether it runs, what it has used."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
NANOSECONDS = 1_000_000_000
_NAME_LENGTH = 15  # of a process's name, see proc_pid_comm(5)


@dataclass(frozen=True)
class ProcessState:
    """One look at a process."""

    cpu_seconds: float  # processor time it has used
    runnable: bool  # whether a thread of it runs, or waits for a processor or the disk
    stopped: bool = False  # whether all of it was stopped by a signal; a process in a debugger is not


def read_process_state(pid: int) -> ProcessState | None:
    """The state of process `pid`; None when there is none of that id."""
    seconds, states = 0.0, set()
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            stat = (task / "stat").read_text(encoding="ascii", errors="replace")
            fields = stat.rpartition(")")[2].split()  # state, ...; fields 14 and 15 of proc(5) are utime and stime
            seconds += (int(fields[11]) + int(fields[12])) / _TICKS
            states.add(fields[0])
    except OSError:
        return None
    return ProcessState(seconds, not states.isdisjoint("RD"), states == {"T"})


def seconds_waited() -> float:
    """Seconds for which the calling thread could run but waited for a processor; 0 where the kernel does not count."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / NANOSECONDS
    except OSError:
        return 0.0


def name_process(name: str) -> None:
    """Give this process the name of its node, which `top` shows and `runs_node` finds."""
    with contextlib.suppress(OSError):  # some containers do not permit it
        Path("/proc/self/comm").write_text(name[:_NAME_LENGTH], encoding="utf-8")


def runs_node(pid: int, name: str) -> bool:
    """Whether process `pid` of this machine is the ROS node `name` (without namespace).

    By its command line, or by the name it gave itself when it was started as a spare process.
    """
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        own_name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return False
    named = own_name == name[:_NAME_LENGTH] or any(word.endswith(name.encode()) for word in command)
    return named and any(b"muon_ad_ros" in word for word in command)
