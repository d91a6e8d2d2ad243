# SPDX-License-Identifier: Apache-2.0
"""The watchdog tells hanging workers from busy, slow and idle ones."""

import os

from muon_ad_core.realtime.watchdog import LONGEST_BUSY, Watchdog, cpu_seconds, runs_node

SILENCE = 3.0


def test_a_worker_that_reports_and_finishes_is_well() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(60):
        watchdog.heard(finished=30 * second, superseded=second, now=float(second))
        assert watchdog.verdict(0.5 * second, second + 0.5) == ""


def test_a_stopped_process_hangs() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    watchdog.heard(10, 0, 1.0)
    assert watchdog.verdict(2.0, 1.5) == ""
    assert watchdog.verdict(2.0, 3.5) == ""
    assert "without running" in watchdog.verdict(2.0, 5.0)


def test_a_process_that_loads_an_engine_is_left_alone_for_a_while() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(int(LONGEST_BUSY)):
        assert watchdog.verdict(0.9 * second, float(second)) == ""
    assert "busy" in watchdog.verdict(100.0, LONGEST_BUSY + 1.0)


def test_a_worker_whose_thread_takes_no_frames_hangs() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(10):
        watchdog.heard(finished=100, superseded=30 * second, now=float(second))
    assert "no frame finished" in watchdog.verdict(5.0, 9.5)


def test_a_worker_without_frames_is_idle() -> None:
    watchdog = Watchdog(SILENCE, 0.0)
    for second in range(30):
        watchdog.heard(finished=0, superseded=0, now=float(second))
        assert watchdog.verdict(0.01 * second, second + 0.5) == ""


def test_processes_are_recognised_before_anything_is_done_to_them() -> None:
    assert cpu_seconds(os.getpid()) is not None
    assert cpu_seconds(2**22 + 1) is None
    assert not runs_node(os.getpid(), "style_transfer")
