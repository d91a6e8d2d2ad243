# SPDX-License-Identifier: Apache-2.0
"""The watchdog tells hanging workers from busy, slow and idle ones."""

import os

from muon_ad_core.realtime.watchdog import LONGEST_BUSY, ProcessState, Watchdog, read_process_state, runs_node

SILENCE = 3.0


def test_a_worker_that_reports_and_finishes_is_well() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(60):
        watchdog.heard(finished=30 * second, superseded=second, now=float(second))
        assert watchdog.verdict(ProcessState(0.5 * second, False), second + 0.5) == ""


def test_a_stopped_process_hangs() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    watchdog.heard(10, 0, 1.0)
    assert watchdog.verdict(ProcessState(2.0, False), 1.5) == ""
    assert watchdog.verdict(ProcessState(2.0, False), 3.5) == ""
    assert "without running" in watchdog.verdict(ProcessState(2.0, False), 5.0)


def test_a_process_that_loads_an_engine_is_left_alone_for_a_while() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(int(LONGEST_BUSY)):
        assert watchdog.verdict(ProcessState(0.9 * second, False), float(second)) == ""
    assert "busy" in watchdog.verdict(ProcessState(100.0, False), LONGEST_BUSY + 1.0)


def test_a_worker_whose_thread_takes_no_frames_hangs() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(10):
        watchdog.heard(finished=100, superseded=30 * second, now=float(second))
    assert "no frame finished" in watchdog.verdict(ProcessState(5.0, False), 9.5)


def test_a_worker_that_waits_for_a_processor_does_not_hang() -> None:
    watchdog, starved = Watchdog(SILENCE, 0.0), ProcessState(1.0, runnable=True)
    for second in range(20):
        assert watchdog.verdict(starved, float(second)) == ""
    watchdog.heard(finished=1, superseded=0, now=20.0)
    for second in range(20, 40):
        watchdog.heard(finished=1, superseded=second, now=float(second))
        assert watchdog.verdict(starved, second + 0.5) == ""


def test_a_worker_without_frames_is_idle() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(30):
        watchdog.heard(finished=0, superseded=0, now=float(second))
        assert watchdog.verdict(ProcessState(0.01 * second, False), second + 0.5) == ""


def test_processes_are_recognised_before_anything_is_done_to_them() -> None:
    state = read_process_state(os.getpid())
    assert state is not None and state.runnable and state.cpu_seconds > 0.0
    assert read_process_state(2**22 + 1) is None
    assert not runs_node(os.getpid(), "style_transfer")
