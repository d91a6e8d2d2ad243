# SPDX-License-Identifier: Apache-2.0
"""The watchdog tells hanging workers from busy, slow, idle and starved ones, and from a machine that stood still."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.realtime.process_state import (
    ProcessState,
    name_process,
    read_process_state,
    runs_node,
    seconds_waited,
)
from muon_ad_core.realtime.watchdog import LONGEST_BUSY, STOPPED, STUCK, Watchdog

SILENCE = 1.0
LOOK = 0.25  # seconds between looks
REPORT = 0.5  # seconds between reports


class Bench:
    """A watchdog and the clock of the worker it watches."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = self.waited = 0.0
        self.finished = self.superseded = 0
        self.watchdog = Watchdog(SILENCE, 0.0)

    def report(self, finished: int = 0, superseded: int = 0, changing: bool = False) -> None:
        self.finished += finished
        self.superseded += superseded
        self.watchdog.heard(self.finished, self.superseded, changing)

    def look(
        self, after: float = LOOK, used: float = 0.0, runnable: bool = False, stopped: bool = False, waited: float = 0.0
    ) -> str:
        self.now += after
        self.cpu += used
        self.waited += waited
        return self.watchdog.verdict(ProcessState(self.cpu, runnable, stopped), self.now, self.waited)

    def well(self, seconds: float) -> None:
        """The worker runs, reports and finishes frames."""
        for index in range(int(seconds / LOOK)):
            if not index % int(REPORT / LOOK):
                self.report(finished=15, superseded=1)
            assert self.look(used=0.1) == ""

    def until_verdict(self, used: float = 0.0, runnable: bool = False, longest: float = 100.0) -> tuple[float, str]:
        """Look again and again; the seconds until the first verdict, and what it is."""
        began = self.now
        while self.now - began < longest:
            verdict = self.look(used=used, runnable=runnable)
            if verdict:
                return self.now - began, verdict
        pytest.fail("no verdict")


def test_a_worker_that_reports_and_finishes_is_well() -> None:
    Bench().well(60.0)


def test_a_silent_process_hangs_once_it_was_silent_for_long_enough() -> None:
    bench = Bench()
    bench.well(5.0)
    seconds, verdict = bench.until_verdict()
    assert seconds <= SILENCE + 2 * LOOK
    assert "without running" in verdict


def test_a_process_that_a_signal_stopped_hangs_before_it_misses_a_report() -> None:
    bench = Bench()
    bench.well(5.0)
    bench.report(changing=True)  # this one does not wait for a device
    looks = 0
    while not (verdict := bench.look(stopped=True)):
        looks += 1
        assert looks <= STOPPED / LOOK + 1
    assert verdict == "stopped by a signal"
    assert looks  # seen once, it may go on at once


def test_a_process_that_is_stopped_for_a_moment_now_and_then_goes_on() -> None:
    bench = Bench()
    for _ in range(40):
        bench.well(0.5)
        assert bench.look(stopped=True) == ""
        bench.report(finished=1)
        assert bench.look(used=0.1) == ""


def test_a_machine_that_stands_still_does_not_prolong_a_moment_in_which_a_process_was_stopped() -> None:
    bench = Bench()
    bench.well(5.0)
    assert bench.look(after=60.0, stopped=True) == ""
    assert bench.look(used=0.1) == ""


def test_threads_of_the_middleware_do_not_make_a_hanging_process_look_alive() -> None:
    bench = Bench()
    bench.well(5.0)
    seconds, _ = bench.until_verdict(used=0.02)
    assert seconds <= SILENCE + 2 * LOOK


def test_a_process_that_works_without_reporting_is_left_alone_for_a_while() -> None:
    bench = Bench()
    bench.well(5.0)
    seconds, verdict = bench.until_verdict(used=0.2)
    assert seconds >= LONGEST_BUSY - 2 * REPORT
    assert "silent" in verdict


def test_a_worker_that_changes_its_state_may_wait_for_a_device() -> None:
    bench = Bench()
    bench.well(5.0)
    bench.report(changing=True)
    seconds, _ = bench.until_verdict()
    assert seconds >= LONGEST_BUSY - 2 * LOOK
    bench = Bench()
    bench.report(changing=True)
    for _ in range(40):
        assert bench.look() == ""
    bench.well(5.0)
    assert bench.until_verdict()[0] <= SILENCE + 2 * LOOK


def test_a_worker_whose_thread_takes_no_frames_hangs() -> None:
    bench = Bench()
    bench.well(5.0)
    for _ in range(int(2 * STUCK * SILENCE / REPORT)):
        bench.report(superseded=15)
        verdict = bench.look() or bench.look()
        if verdict:
            break
    assert "no frame finished" in verdict


def test_a_worker_that_finishes_a_frame_now_and_then_is_slow() -> None:
    bench = Bench()
    for index in range(100):
        bench.report(finished=index % 4 == 0, superseded=15)
        assert (bench.look() or bench.look()) == ""


def test_a_worker_that_waits_for_a_processor_does_not_hang() -> None:
    bench = Bench()
    bench.well(5.0)
    for _ in range(80):
        assert bench.look(runnable=True) == ""
    for _ in range(40):
        bench.report(superseded=15)
        assert (bench.look(runnable=True) or bench.look()) == ""  # now and then it is seen waiting for another thread


def test_a_worker_without_frames_is_idle() -> None:
    bench = Bench()
    for _ in range(60):
        bench.report()
        assert (bench.look() or bench.look()) == ""


@given(st.lists(st.floats(0.25, 600.0), min_size=1, max_size=8))
def test_a_machine_that_stands_still_makes_nobody_hang(stalls: list[float]) -> None:
    """After each stall the watcher wakes first, the reports come only then."""
    bench = Bench()
    for stall in stalls:
        bench.well(2.0)
        assert bench.look(after=stall) == ""
        bench.report(finished=1)


def test_a_stopped_process_is_found_on_a_starved_machine_too_but_later() -> None:
    bench = Bench()
    bench.well(5.0)
    for _ in range(8):
        assert bench.look(after=0.6) == ""
    for _ in range(20):
        verdict = bench.look(after=0.6)
        if verdict:
            break
    assert "without running" in verdict


def test_a_watcher_without_a_processor_hears_too_little_to_judge_soon() -> None:
    bench = Bench()
    bench.well(5.0)
    for _ in range(3):  # as beside workers of real-time priority that use nearly all there is
        for _ in range(8):
            assert bench.look(used=0.02, waited=0.9 * LOOK) == ""
        bench.report(finished=200)
    verdicts = [bench.look(waited=0.9 * LOOK) for _ in range(40)]
    assert "without running" in "".join(verdicts)  # a hanging worker is found all the same, later


def test_a_watcher_that_waits_now_and_then_judges_as_soon() -> None:
    bench = Bench()
    bench.well(5.0)
    assert [bool(bench.look(waited=0.3 * LOOK)) for _ in range(5)][-1]


def test_waiting_for_a_processor_is_counted() -> None:
    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this kernel does not count how long threads wait")
    rival = "import os\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", rival]) as hog:
        try:
            waited = _waited_beside_a_rival()
        finally:
            hog.kill()
    assert waited > 0.02


def _waited_beside_a_rival() -> float:
    """Seconds that a thread waited which wanted its processor for half a second."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_want_the_first_processor).result()


def _want_the_first_processor() -> float:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    before, end = seconds_waited(), time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    return seconds_waited() - before


def test_a_process_that_a_signal_stopped_is_told_from_one_that_waits() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            child.send_signal(signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)  # returns once it is stopped
            if ") T " not in Path(f"/proc/{child.pid}/stat").read_text():
                pytest.skip("this machine's /proc does not tell which processes are stopped")
            assert read_process_state(child.pid) == ProcessState(ANY, runnable=False, stopped=True)
            child.send_signal(signal.SIGCONT)
            os.waitpid(child.pid, os.WCONTINUED)
            state = read_process_state(child.pid)
            assert state is not None and not state.stopped
        finally:
            child.kill()


def test_processes_are_recognised_before_anything_is_done_to_them() -> None:
    state = read_process_state(os.getpid())
    assert state is not None and state.runnable and state.cpu_seconds >= 0.0
    assert read_process_state(2**22 + 1) is None
    assert not runs_node(os.getpid(), "style_transfer")
    name_process("style_transfer")
    assert not runs_node(os.getpid(), "style_transfer")  # any program may be called so
    name_process("pytest")
