# SPDX-License-Identifier: Apache-2.0
"""Figures of the joint benchmark from made-up windows: ratios, added delay, stalls told apart, the page."""

from typing import Any

import pytest

from muon_ad_core.bench.joint_figures import (
    DETECTION,
    JOINT,
    STYLE,
    Condition,
    Window,
    build_results,
    describe,
    summarise,
    touched,
    worker_figures,
)
from muon_ad_core.bench.joint_page import render_page
from muon_ad_core.bench.witness import Stall, Stalls

PERIOD_NS = 33_000_000
DEADLINE_MS = 33.0


def rows(totals: list[float], lost: int = 0) -> list[dict[str, Any]]:
    """Timings of frames one period apart; `lost` frames before the last."""
    made = [
        {"stamp_ns": number * PERIOD_NS, "total_ms": total, "level": "fine", "missed": False, "lost_before": 0}
        for number, total in enumerate(totals)
    ]
    made[-1]["lost_before"] = lost
    return made


def window(task: str, policies: bool, load: str, style: list[float]) -> Window:
    timings = {STYLE: rows(style) if task != DETECTION else [], DETECTION: rows([5.0] * 4) if task != STYLE else []}
    return Window(Condition(task, policies, load), 0, 10**9, timings, {"style_transfer": "FIFO 50"}, 60.0)


NO_STALLS = Stalls("FIFO 98", 5.0)
WINDOWS = [
    window(STYLE, True, "none", [10.0] * 10),
    window(JOINT, True, "none", [11.0] * 10),
    window(JOINT, True, "cpu", [12.0] * 10),
    window(JOINT, False, "cpu", [50.0] * 10),
    window(DETECTION, True, "none", []),
]


def test_ratios_and_added_delay() -> None:
    results = build_results(WINDOWS, NO_STALLS, DEADLINE_MS)
    summary = summarise(results, NO_STALLS)
    assert summary["p99_ratio"] == pytest.approx(1.2)
    assert summary["ratio_without_policies"] == pytest.approx(5.0)
    assert summary["added_ms_median"] == pytest.approx(1.0)
    assert summary["missed_deadlines"] == 0
    assert summary["witness_stalls"] == 0


def test_rounds_of_a_condition_are_taken_together() -> None:
    windows = [window(STYLE, True, "none", [10.0]), window(STYLE, True, "none", [20.0])]
    entry = build_results(windows, NO_STALLS, DEADLINE_MS)["conditions"]
    assert len(entry) == 1
    assert entry[0]["style"]["frames"] == 2
    assert entry[0]["style"]["p99_by_round"] == [10.0, 20.0]


def test_what_was_not_run_has_no_figure() -> None:
    results = build_results(WINDOWS[1:2], NO_STALLS, DEADLINE_MS)
    summary = summarise(results, NO_STALLS)
    assert summary["p99_ratio"] is None
    assert summary["added_ms_median"] is None


def test_deadlines_missed_in_a_stall_are_told_apart() -> None:
    late = rows([10.0, 60.0, 10.0, 60.0])
    stall = Stall(late[1]["stamp_ns"] + 5_000_000, 40.0)
    assert touched(late[1], [stall])
    assert not touched(late[3], [stall])
    figures = worker_figures([late], [stall], DEADLINE_MS)
    assert (figures["misses"], figures["misses_outside_stalls"]) == (2, 1)


def test_lost_frames_are_counted_but_for_those_before_the_window() -> None:
    assert worker_figures([rows([10.0, 10.0], lost=3), rows([10.0], lost=7)], [], DEADLINE_MS)["lost"] == 3


def test_table_and_page_show_every_condition_and_the_paper() -> None:
    results = build_results(WINDOWS, NO_STALLS, DEADLINE_MS)
    summary = summarise(results, NO_STALLS)
    text = describe(results, summary)
    page = render_page(results, summary, {"rounds": 1, "seconds": 3.0})
    assert text.count("joint ") >= 3
    assert "Table XII" in text and "Table XII" in page
    assert page.count("<tr>") >= len(WINDOWS) + 1
