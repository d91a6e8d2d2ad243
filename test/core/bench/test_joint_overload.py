# SPDX-License-Identifier: Apache-2.0
"""Overload is measured by style's own count, in turns, and a restart is not hidden."""

from typing import Any

import pytest

from muon_ad_core.bench.joint_overload import measure_overload, rates
from muon_ad_core.errors import UserError

SECOND = 1_000_000_000


def report(node: str, second: float, frames_out: int, pid: int = 1) -> dict[str, Any]:
    return {"node": node, "stamp_ns": int(second * SECOND), "frames_out": frames_out, "pid": pid}


def test_rates_are_by_the_reports_own_stamps_and_counts() -> None:
    rows = [report("style_transfer", 10.0, 100), report("camera", 10.2, 900), report("style_transfer", 10.5, 150)]
    rows += [report("style_transfer", 12.5, 350), report("style_transfer", 12.5, 350)]
    assert rates(rows, "style_transfer") == [100.0, 100.0]
    assert rates(rows, "camera") == []


def test_a_restart_counts_as_time_without_frames() -> None:
    rows = [report("style_transfer", 1.0, 1000), report("style_transfer", 3.0, 20, pid=2)]
    assert rates(rows, "style_transfer") == [10.0]


class Session:
    """A joint task in which style gives `alone` frames a second, and `joint` beside the detector."""

    def __init__(self, alone: float, joint: float) -> None:
        self.now = 100.0
        self.rate = {False: alone, True: joint}
        self.active = {"style_transfer": True, "detector": True, "camera": True}
        self.frames = 0.0
        self.rows: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.monitor = self
        self.processes: dict[str, Any] = {}

    def pause(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.5)):
            self.now += 0.5
            self.frames += 0.5 * self.rate[self.active["detector"]] * self.active["style_transfer"]
            self.rows.append(report("style_transfer", self.now, int(self.frames)))

    def ask(self, action: str, **request: Any) -> dict[str, Any]:
        if action == "transition":
            self.asked.append((request["node"], request["transition"]))
            self.active[request["node"]] = request["transition"] == "activate"
        if action == "history":
            rows, self.rows = self.rows, []
            return {"rows": rows}
        if action == "timings":  # hardly any is heard: the listener starves
            return {"style_transfer": [{"level": "fast"}], "detector": []}
        return {"scheduler": {"restarts": 1, "detection_limit_hz": 2.0}}


def test_joint_and_alone_are_compared_in_turns_by_what_style_finished() -> None:
    session = Session(alone=120.0, joint=90.0)
    found = measure_overload(session, 120.0, seconds=4.0, rounds=2)  # type: ignore[arg-type]
    assert found["throughput_ratio"] == pytest.approx(0.75)
    assert found["worst_interval_ratio"] == pytest.approx(0.75)
    assert found["style_hz"] == pytest.approx(90.0)
    assert [watch["restarts"] for watch in found["joint"]] == [0, 0]
    turns = [change for node, change in session.asked if node == "detector"]
    assert turns == ["deactivate", "activate", "deactivate", "activate", "deactivate"]


def test_style_that_has_ended_is_no_zero() -> None:
    session = Session(alone=120.0, joint=90.0)
    with pytest.raises(UserError, match="no two reports"):
        measure_overload(session, 120.0, seconds=0.5, rounds=1)  # type: ignore[arg-type]
