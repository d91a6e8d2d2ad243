# SPDX-License-Identifier: Apache-2.0
"""Background loads: the processes are there meanwhile, work, and are gone afterwards."""

import os
import time
from pathlib import Path

import pytest

from muon_ad_core.bench.load import HOGS, hog_count, load
from muon_ad_core.bench.processes import read_process


def hogs(kind: str) -> list[int]:
    """Processes of a load that this process started."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"muon_ad_core.bench.load" in command and kind.encode() in command:
                found.append(child)
    return found


@pytest.mark.parametrize("kind", sorted(HOGS))
def test_a_load_works_while_it_is_wanted(kind: str) -> None:
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("this kernel does not list children (CONFIG_PROC_CHILDREN)")
    with load(kind):
        deadline = time.monotonic() + 60.0
        while len(hogs(kind)) < hog_count(kind) and time.monotonic() < deadline:
            time.sleep(0.05)
        processes = hogs(kind)
        assert len(processes) == hog_count(kind)
        while any(_seconds(pid) < 0.3 for pid in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert all(_seconds(pid) >= 0.3 for pid in processes)
    assert hogs(kind) == []


def test_no_load_is_no_process() -> None:
    with load("none"):
        assert hogs("none") == []


def _seconds(pid: int) -> float:
    sample = read_process(pid, time.time_ns())
    return sample.cpu_seconds if sample is not None else 0.0
