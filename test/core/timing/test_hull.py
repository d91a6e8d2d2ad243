# SPDX-License-Identifier: Apache-2.0
"""The lower hull gives the closest line below all points, also with the largest integers of clocks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.hull import LowerHull, RollingHull

FAR = 1_800_000_000_000_000_000
POINTS = st.lists(
    st.tuples(st.integers(1, 50_000_000), st.integers(0, 20_000_000)), min_size=1, max_size=40
)  # steps of x and heights of y, in ns


def hull_of(points: list[tuple[int, int]]) -> tuple[LowerHull, list[tuple[int, int]]]:
    hull, placed, x = LowerHull(), [], FAR
    for step, height in points:
        x += step
        placed.append((x, FAR // 2 + height))
        hull.add(*placed[-1])
    return hull, placed


@settings(max_examples=80)
@given(POINTS, st.sampled_from([2e-4, 0.05, 10.0]))
def test_no_point_is_below_the_line_and_its_slope_is_bounded(points: list[tuple[int, int]], steepest: float) -> None:
    hull, placed = hull_of(points)
    line = hull.line(steepest)
    assert abs(line.slope) <= steepest
    assert min(y - line.at(x) for x, y in placed) in (-1, 0, 1)  # rounding to whole nanoseconds


@settings(max_examples=80)
@given(POINTS, st.floats(-0.04, 0.04))
def test_no_other_line_below_all_points_is_closer(points: list[tuple[int, int]], slope: float) -> None:
    hull, placed = hull_of(points)
    line = hull.line(0.04)
    x0, y0 = placed[0]
    lowest = min((y - y0) - slope * (x - x0) for x, y in placed)
    other = sum((y - y0) - slope * (x - x0) - lowest for x, y in placed) / len(placed)
    assert hull.mean_excess(line) <= other + 2.0


def test_points_come_in_order() -> None:
    hull = LowerHull()
    hull.add(1, 0)
    with pytest.raises(ValueError, match="increasing x"):
        hull.add(1, 0)


def test_a_rolling_hull_forgets_points_older_than_the_window() -> None:
    hull = RollingHull(window=100)
    for x in range(400):
        hull.add(x, 0 if x == 50 else 10)
    assert 50 <= hull.hull.span <= 100
    assert hull.hull.line(0.0).y == 10
