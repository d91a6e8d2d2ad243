# SPDX-License-Identifier: Apache-2.0
"""Memory and processor time of processes and of the whole machine, read from /proc while they run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ProcessSample:
    """One look at a process."""

    time_ns: int  # system clock
    pid: int
    cpu_seconds: float  # user and system time since the process started
    rss_mb: float  # resident memory in 1e6 bytes


@dataclass(frozen=True)
class MachineSample:
    """One look at all processors together."""

    time_ns: int  # system clock
    busy_seconds: float  # since boot, summed over the processors
    stolen_seconds: float  # of these: time the host gave to other guests


@dataclass(frozen=True)
class ProcessUse:
    """What a process used in a span of time."""

    rss_mb: float  # largest
    cpu_percent: float | None  # of one processor; None when it was seen less than twice


class ProcessMonitor:
    """Gathers samples; call `sample` about once a second."""

    def __init__(self) -> None:
        self.processes: dict[str, list[ProcessSample]] = {}
        self.machine: list[MachineSample] = []

    def sample(self, pids: Mapping[str, int | None]) -> None:
        """Look at the named processes (None: not running) and at the machine."""
        now_ns = time.time_ns()
        for name, pid in pids.items():
            sample = read_process(pid, now_ns) if pid else None
            if sample is not None:
                self.processes.setdefault(name, []).append(sample)
        self.machine.append(read_machine(now_ns))

    def use(self, begin_ns: int, end_ns: int) -> dict[str, ProcessUse]:
        """What each process used between two instants of the system clock."""
        uses = {}
        for name, samples in self.processes.items():
            within = [sample for sample in samples if begin_ns <= sample.time_ns <= end_ns]
            if within:
                uses[name] = ProcessUse(max(sample.rss_mb for sample in within), _cpu_percent(within))
        return uses

    def machine_use(self, begin_ns: int, end_ns: int) -> dict[str, float]:
        """Percent of all processors that were busy, or stolen by the host; empty without two samples."""
        within = [sample for sample in self.machine if begin_ns <= sample.time_ns <= end_ns]
        if len(within) < 2:
            return {}
        available = (within[-1].time_ns - within[0].time_ns) * 1e-9 * (os.cpu_count() or 1)
        return {
            "busy_percent": 100.0 * (within[-1].busy_seconds - within[0].busy_seconds) / available,
            "stolen_percent": 100.0 * (within[-1].stolen_seconds - within[0].stolen_seconds) / available,
        }


def read_process(pid: int, now_ns: int) -> ProcessSample | None:
    """A sample of process `pid`, None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return None
    fields = stat.rpartition(")")[2].split()  # the program's name may hold blanks; what follows is field 3 of proc(5)
    return ProcessSample(now_ns, pid, (int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE / 1e6)


def read_machine(now_ns: int) -> MachineSample:
    """A sample of the whole machine, from the first line of /proc/stat."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return MachineSample(now_ns, (user + nice + system + irq + softirq + steal) / _TICKS, steal / _TICKS)


def has_torch_loaded(pid: int) -> bool:
    """Whether PyTorch's library is mapped into process `pid`, whatever the process says itself."""
    try:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _cpu_percent(samples: list[ProcessSample]) -> float | None:
    """Use of one processor in percent, summed over the lives of a process that was started again."""
    seconds = used = 0.0
    for before, after in pairwise(samples):
        if before.pid == after.pid:
            seconds += (after.time_ns - before.time_ns) * 1e-9
            used += after.cpu_seconds - before.cpu_seconds
    return 100.0 * used / seconds if seconds else None
