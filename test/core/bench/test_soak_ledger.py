# SPDX-License-Identifier: Apache-2.0
"""Invariants of a soak run, over made-up reports."""

import json
from pathlib import Path
from typing import Any

import pytest

from muon_ad_core.bench.soak import holds
from muon_ad_core.bench.soak_ledger import FrameAccounts, Ledger, growth
from muon_ad_core.errors import ParameterError


def status(pid: int, frames_in: int, frames_out: int, **drops: int) -> dict[str, Any]:
    return {"node": "style_transfer", "pid": pid, "frames_in": frames_in, "frames_out": frames_out, "drops": drops}


def accounts(*statuses: dict[str, Any]) -> FrameAccounts:
    made = FrameAccounts()
    for entry in statuses:
        made.add(entry)
    return made


def test_frames_delivered_dropped_or_in_work_are_accounted_for() -> None:
    made = accounts(status(1, 10, 8, superseded=1), status(1, 20, 15, superseded=3), status(2, 5, 5))
    assert made.unaccounted == 0
    assert made.frames == 25


def test_frames_that_vanish_and_frames_from_nowhere_are_not() -> None:
    assert accounts(status(1, 10, 3)).unaccounted == 5
    assert accounts(status(1, 10, 10, failed=1)).unaccounted == 1


def usage(at_s: float, rss_mb: float, pid: int = 1, size: str = "640x480") -> dict[str, Any]:
    return {"node": "camera", "pid": pid, "at_s": at_s, "own_mb": rss_mb, "picture_size": size}


def test_growth_is_that_of_the_settled_part_of_the_longest_life() -> None:
    filling = [usage(float(second), 100.0 + min(second, 14)) for second in range(100)]
    assert growth(filling, "own_mb") == {"camera": 0.0}
    leaking = [usage(float(second), 100.0 + second) for second in range(100)]
    assert growth(leaking, "own_mb")["camera"] > 0.3
    assert growth([*filling, *(usage(200.0 + second, 500.0, pid=2) for second in range(50))], "own_mb") == {
        "camera": 0.0
    }


def test_growth_compares_pictures_of_one_size_once_every_size_was_met() -> None:
    def row(second: int, leak: float) -> dict[str, Any]:
        size = "640x480" if second // 20 % 2 else "320x240"
        kept_of_each_size = 10.0 if second < 20 else 20.0
        return usage(
            float(second), 100.0 + kept_of_each_size + (5.0 if size == "640x480" else 0.0) + leak * second, 1, size
        )

    assert growth([row(second, leak=0.0) for second in range(200)], "own_mb") == {"camera": 0.0}
    assert growth([row(second, leak=0.1) for second in range(200)], "own_mb")["camera"] > 0.05


def test_the_first_stay_at_a_size_does_not_count_once_there_are_others() -> None:
    def row(second: int, later: float) -> dict[str, Any]:
        first_stays = second < 80  # 640x480 until 40, 320x240 until 80, then both again
        return usage(
            float(second), 100.0 if first_stays else later, 1, "640x480" if second // 40 % 2 == 0 else "320x240"
        )

    assert growth([row(second, later=110.0) for second in range(400)], "own_mb") == {"camera": 0.0}
    assert growth([row(second, later=100.0 + 0.1 * second) for second in range(400)], "own_mb")["camera"] > 0.05


def test_a_short_life_tells_nothing() -> None:
    assert growth([usage(float(second), 100.0 + second) for second in range(20)], "own_mb") == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"unaccounted_frames": 1}, False),
        ({"recoveries": 4}, False),
        ({"memory_growth": 0.05}, False),
        ({"memory_growth": None}, True),
        ({"descriptor_growth": 0.5}, False),
    ],
)
def test_what_must_hold(change: dict[str, Any], expected: bool) -> None:
    summary = {"unaccounted_frames": 0, "faults": 5, "recoveries": 5, "memory_growth": 0.01, "descriptor_growth": 0.0}
    assert holds(summary | change) is expected


def test_the_ledger_is_one_json_line_for_each_event(tmp_path: Path) -> None:
    with Ledger(tmp_path / "new" / "ledger.jsonl") as ledger:
        ledger.write("fault", {"fault": "kill"})
        ledger.write("status", status(1, 2, 3))
    lines = (tmp_path / "new" / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["fault", "status"]


def test_a_ledger_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="cannot be written"):
        Ledger(tmp_path / "file" / "ledger.jsonl")
