# SPDX-License-Identifier: Apache-2.0
"""The level controller in simulation: holds the deadline, comes back up, does not flicker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.realtime.level import LevelController

LEVELS = ["64", "96", "128"]
COST_MS = {"64": 8.0, "96": 14.0, "128": 20.0}


def simulate(controller: LevelController, frames: int, load: float) -> list[str]:
    """Levels used while each frame takes the level's cost times `load`."""
    used = []
    for _ in range(frames):
        used.append(controller.level)
        controller.update(COST_MS[controller.level] * load)
    return used


def test_stays_at_the_best_level_while_it_fits() -> None:
    assert set(simulate(LevelController(LEVELS, 33.0), 500, load=1.0)) == {"128"}


def test_overload_lowers_and_relief_raises_again() -> None:
    controller = LevelController(LEVELS, 33.0)
    overloaded = simulate(controller, 200, load=2.0)
    assert overloaded[-1] == "96"
    assert overloaded.count("128") <= 5
    assert simulate(controller, 1000, load=1.0)[-1] == "128"


def test_what_disturbed_a_start_is_made_up_for_within_seconds() -> None:
    controller = LevelController(LEVELS, 33.0)
    assert simulate(controller, 30, load=5.0)[-1] == "64"
    used = simulate(controller, 150, load=1.0)  # five seconds of a camera
    assert used[-1] == "128"


def test_one_late_frame_changes_nothing() -> None:
    controller = LevelController(LEVELS, 33.0)
    controller.update(500.0)
    assert set(simulate(controller, 100, load=1.0)) == {"128"}


def test_a_level_that_keeps_failing_is_tried_less_and_less_often() -> None:
    controller = LevelController(["64", "96"], 13.0)
    used = simulate(controller, 10_000, load=0.95)  # 96 always misses, 64 always has margin
    first, second = used[:5000].count("96"), used[5000:].count("96")
    assert second < first
    assert used.count("96") < 0.02 * len(used)


def test_a_slow_median_lowers_although_no_frame_is_late_but_not_below_its_floor() -> None:
    controller = LevelController(LEVELS, 33.0, median_share=0.45)  # 14.85 ms
    assert simulate(controller, 100, load=1.0)[-1] == "96"
    controller = LevelController(LEVELS, 33.0, median_share=0.2)  # 6.6 ms, which no level has
    assert simulate(controller, 100, load=1.0)[-1] == "64"
    controller = LevelController(LEVELS, 33.0, median_share=0.2, median_floor=1)
    assert simulate(controller, 100, load=1.0)[-1] == "96"


@given(st.lists(st.sampled_from([10.0, 20.0]), min_size=30, max_size=30))
def test_the_median_of_thirty_frames_decides(totals: list[float]) -> None:
    controller = LevelController(LEVELS, 33.0, median_share=0.45)
    for total in totals:
        controller.update(total)
    assert (controller.level == "96") == (totals.count(20.0) > 15)


@given(st.lists(st.floats(0.0, 1000.0), max_size=400))
def test_the_level_is_always_one_of_those_offered(totals: list[float]) -> None:
    controller = LevelController(LEVELS, 33.0)
    for total in totals:
        assert controller.update(total) in LEVELS
        assert controller.level in LEVELS


def test_needs_a_level() -> None:
    with pytest.raises(ValueError, match="at least one"):
        LevelController([], 33.0)
