# SPDX-License-Identifier: Apache-2.0
"""Memory of a real-time process: locked or explained, and the garbage collector told to overlook it."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

LOCK = """
import json, resource
from muon_ad_core.realtime.memory import lock_working_set, locked_mb, unlock
reason = lock_working_set()
locked = locked_mb()
unlock()
print(json.dumps({"reason": reason, "locked": locked, "unlocked": locked_mb()}))
"""
REFUSED = """
import json, resource
from muon_ad_core.realtime import memory
memory.has_capability = lambda number: False
resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
print(json.dumps({"reason": memory.lock_working_set(), "locked": memory.locked_mb()}))
"""
FREEZE = """
import gc, json
from muon_ad_core.realtime.memory import freeze_garbage_collector
kept = [[] for _ in range(10_000)]
frozen = freeze_garbage_collector()
print(json.dumps({"frozen": frozen, "watched": len(gc.get_objects())}))
"""


TRIM = """
import json
from muon_ad_core.realtime.memory import return_freed_memory
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
blocks = [bytes(60_000) for _ in range(1000)]  # small enough to lie in the heap; the last one keeps its top in use
last = bytes(60_000)
full = resident_mb()
del blocks
return_freed_memory()
print(json.dumps({"full": full, "after": resident_mb()}))
"""

KEEP = """
import json, resource
from muon_ad_core.realtime.memory import keep_freed_memory
def faults_of_frames():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames = [b"x" * 4_000_000 for _ in range(4)]  # 3900 pages in all
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keeps = keep_freed_memory()
first = faults_of_frames()
print(json.dumps({"keeps": keeps, "first": first, "again": faults_of_frames()}))
"""

ARENAS = """
import ctypes, json, re, sys, threading
from muon_ad_core.realtime.memory import keep_freed_memory
keep_freed_memory()
all_there, blocks = threading.Barrier(17), []
def allocate():
    blocks.append([bytes(1000) for _ in range(1000)])
    all_there.wait()
threads = [threading.Thread(target=allocate) for _ in range(16)]
for thread in threads:
    thread.start()
all_there.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
report = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, report)
libc.fclose(report)
print(json.dumps({"arenas": len(re.findall("<heap nr", open(sys.argv[1]).read()))}))
"""

SEPARATE = """
import json
from muon_ad_core.realtime.memory import keep_freed_memory, separate_memory
def mapped_mb():
    return int(open("/proc/self/statm").read().split()[0]) * 4096 / 1e6
keep_freed_memory()
with separate_memory():
    engine = [b"x" * 1_000_000 for _ in range(100)]
frame = b"x" * 1_000_000
full = mapped_mb()
del engine
print(json.dumps({"full": full, "after": mapped_mb()}))
"""


def run_in_child(code: str, *arguments: str) -> dict:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)


def test_the_working_set_is_locked_or_the_remedy_named() -> None:
    report = run_in_child(LOCK)
    if report["reason"]:
        assert "memlock" in report["reason"]
        assert report["locked"] == 0
    else:
        assert report["locked"] > 1
    assert report["unlocked"] == 0


def test_a_limit_on_locked_memory_is_not_run_into() -> None:
    report = run_in_child(REFUSED)
    assert "memlock limit is 64 kB" in report["reason"]
    assert "CAP_IPC_LOCK" in report["reason"]
    assert report["locked"] == 0


def test_what_is_alive_is_left_out_of_garbage_collection() -> None:
    report = run_in_child(FREEZE)
    assert report["frozen"] > 10_000
    assert report["watched"] < 1000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_the_memory_of_a_frame_serves_the_next_one() -> None:
    report = run_in_child(KEEP)
    assert report["keeps"]
    assert report["again"] <= report["first"] / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told how many arenas to make")
def test_threads_share_a_few_arenas(tmp_path: Path) -> None:
    assert 1 <= run_in_child(ARENAS, str(tmp_path / "arenas.xml"))["arenas"] <= 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told what gets mappings of its own")
def test_separate_memory_leaves_the_process_whole_though_freed_memory_is_kept() -> None:
    report = run_in_child(SEPARATE)
    assert report["full"] - report["after"] > 90


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives freed memory back on request")
def test_freed_memory_goes_back_to_the_system() -> None:
    report = run_in_child(TRIM)
    assert report["full"] - report["after"] > 40
