# SPDX-License-Identifier: Apache-2.0
"""muon-ad bench cameras: the judgement of what was heard; the run itself is for a quiet machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muon_ad_core import cli
from muon_ad_core.bench.cameras import Entry, describe, judge_pairs, judge_stream, summarise

PERIOD = 33_333_333
APART = 2_000_000


def entries(numbers: list[int], later_ns: int = 0) -> list[Entry]:
    """Frames of these numbers; each tells how many were missed before it."""
    made = []
    for previous, number in zip([numbers[0] - 1, *numbers], numbers):
        stamp_ns = number * PERIOD + later_ns
        made.append(Entry(number, number - previous - 1, stamp_ns, stamp_ns + 9_000_000, 1_000_000, "translated"))
    return made


def test_missed_frames_are_accounted_for_and_lost_ones_are_not() -> None:
    listed = entries([1, 2, 5, 6])
    figures = judge_stream(listed)
    assert (figures["frames"], figures["published"], figures["missed"], figures["unaccounted"]) == (6, 4, 2, 0)
    assert judge_stream([listed[0], listed[2], listed[3]])["unaccounted"] == 1
    assert (figures["future_stamps"], figures["backward_stamps"], figures["not_translated"]) == (0, 0, 0)


def test_stamps_of_the_future_and_backward_ones_are_seen() -> None:
    listed = entries([1, 2, 3])
    listed[1] = replace(listed[1], stamp_ns=listed[0].stamp_ns - 1)
    listed[2] = replace(listed[2], stamp_ns=listed[2].arrival_ns + 1)
    figures = judge_stream(listed)
    assert (figures["future_stamps"], figures["backward_stamps"]) == (1, 1)


def test_pairs_count_when_both_frames_have_one_number() -> None:
    streams = {"color": entries([1, 2, 3, 4], APART), "depth": entries([1, 2, 3])}
    stamp = PERIOD
    sets = [(stamp + APART, stamp), (3 * stamp + APART, 2 * stamp), (9 * stamp + APART, 9 * stamp)]
    figures = judge_pairs(streams, sets)
    assert (figures["possible"], figures["right"], figures["wrong"]) == (3, 1, 1)
    assert figures["percent"] == pytest.approx(33.333)


def test_the_summary_is_flat_and_described() -> None:
    streams = {"color": entries([1, 2, 3], APART), "depth": entries([1, 2, 3])}
    results = {
        "streams": {name: judge_stream(listed) for name, listed in streams.items()},
        "pairs": judge_pairs(streams, [(n * PERIOD + APART, n * PERIOD) for n in (1, 2, 3)]),
        "fates_in_frame_sync": {"color": {"received": 3, "lost": 0}, "depth": {"received": 3, "lost": 0}},
        "recovered_s": 0.7,
    }
    summary = summarise(results)
    assert summary["unaccounted_frames"] == 0
    assert summary["pairs_percent"] == 100.0
    assert all(isinstance(value, int | float) for value in summary.values())
    assert "100.00 %   >= 99.5 %" in describe(summary)


def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "cameras", "--seconds", "0"]) == 2
    assert capsys.readouterr().err.startswith("muon-ad bench: --seconds must be between 2 and 3600")
