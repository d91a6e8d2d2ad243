# SPDX-License-Identifier: Apache-2.0
"""Who gives way, in simulation: detection's rate, style's level, detection again; and in what order they return."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.realtime.budget import UNLIMITED, Allowance, Budget, allowance_ladder

LEVELS = ["fast", "fine"]
LIMITS = [10.0, 5.0, 2.0]
DEADLINE_MS = 33.0
STYLE_MS = {"fast": 8.0, "fine": 16.0}
DETECTION_MS = (
    1.5  # added to a style frame by each detection a second, at most 15 a second, of a machine that is too slow
)


def frame_ms(allowance: Allowance, other_load: float) -> float:
    """Age of a stylised frame where detection and style share one slow processor."""
    rate = min(15.0, allowance.detection_hz or 15.0)
    return STYLE_MS[allowance.level] * other_load + DETECTION_MS * rate


def simulate(budget: Budget, frames: int, other_load: float) -> list[Allowance]:
    used = []
    for _ in range(frames):
        used.append(budget.allowance)
        budget.frame(frame_ms(budget.allowance, other_load))
    return used


def test_detection_gives_way_before_the_level() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS)
    used = simulate(budget, 60, other_load=0.7)
    assert used[0] == Allowance("fine", UNLIMITED)
    assert used[-1] == Allowance("fine", max(LIMITS))
    assert frame_ms(used[-1], 0.7) < DEADLINE_MS


def test_the_level_is_lowered_before_detection_is_starved() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS)
    used = simulate(budget, 100, other_load=1.5)
    assert used[-1] == Allowance("fast", max(LIMITS))
    assert frame_ms(used[-1], 1.5) < DEADLINE_MS


def test_detection_gives_the_rest_when_no_level_is_left() -> None:
    used = simulate(Budget(LEVELS, LIMITS, DEADLINE_MS), 300, other_load=2.5)
    assert used[-1].level == "fast" and used[-1].detection_hz < max(LIMITS)
    first_fast = next(index for index, allowance in enumerate(used) if allowance.level == "fast")
    assert {allowance.detection_hz for allowance in used[:first_fast]} == {UNLIMITED, max(LIMITS)}


def test_all_return_in_the_opposite_order() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS)
    simulate(budget, 300, other_load=3.5)
    assert budget.allowance == Allowance("fast", min(LIMITS))
    used = simulate(budget, 3000, other_load=0.1)
    returned = list(dict.fromkeys(used))
    assert returned == [Allowance("fast", limit) for limit in sorted(LIMITS)] + [
        Allowance("fine", max(LIMITS)),
        Allowance("fine", UNLIMITED),
    ]


def test_slow_frames_lower_the_level_but_never_starve_detection() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS, median_share=0.45)
    used = simulate(budget, 200, other_load=0.45)  # nothing is late, but even `fast` is slower than 14.85 ms
    assert all(frame_ms(allowance, 0.45) < 0.85 * DEADLINE_MS for allowance in used[-100:])
    assert used[-1] == Allowance("fast", max(LIMITS))
    assert {allowance.detection_hz for allowance in used} == {UNLIMITED, max(LIMITS)}


def test_detection_returns_after_a_disturbance_though_even_the_narrowest_level_is_slow() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS, median_share=0.2)
    simulate(budget, 200, other_load=0.1)
    for _ in range(6):  # late, then late again at the next lower limit
        budget.frame(100.0)
    assert budget.allowance == Allowance("fast", min(LIMITS))
    assert simulate(budget, 300, other_load=0.1)[-1] == Allowance("fast", max(LIMITS))


def test_lost_frames_count_as_danger() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS)
    budget.frame(1.0, lost=3)
    assert budget.given_up == 1


def test_a_changed_ladder_starts_at_its_best_and_an_unchanged_one_stays() -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS)
    simulate(budget, 300, other_load=2.5)
    given_up = budget.given_up
    budget.configure(LEVELS, LIMITS, DEADLINE_MS)
    assert budget.given_up == given_up > 0
    budget.configure(LEVELS, [5.0], DEADLINE_MS)
    assert budget.given_up == 0


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(0.0, 100.0), max_size=5),
)
def test_every_step_of_a_ladder_gives_up_one_thing(levels: list[str], rates: list[float]) -> None:
    ladder = allowance_ladder(levels, rates)
    assert ladder[-1] == Allowance(levels[-1], UNLIMITED)
    for lower, higher in pairwise(ladder):
        level_changed = levels.index(lower.level) < levels.index(higher.level)
        rate_changed = lower.detection_hz != higher.detection_hz
        assert level_changed or rate_changed
        assert not rate_changed or higher.detection_hz == UNLIMITED or lower.detection_hz < higher.detection_hz


@given(st.lists(st.tuples(st.floats(0.0, 500.0), st.integers(0, 5)), max_size=300))
def test_what_is_allowed_is_always_on_the_ladder(frames: list[tuple[float, int]]) -> None:
    budget = Budget(LEVELS, LIMITS, DEADLINE_MS)
    ladder = allowance_ladder(LEVELS, LIMITS)
    for total_ms, lost in frames:
        assert budget.frame(total_ms, lost) in ladder


def test_needs_a_level() -> None:
    with pytest.raises(ValueError, match="at least one level"):
        allowance_ladder([], LIMITS)
