# SPDX-License-Identifier: Apache-2.0
"""Frame numbers: every number between the first and the newest is received or missed."""

from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.sources.numbers import FARTHEST_BACK, LONGEST_GAP, NumberCounter


def test_gaps_repeats_and_restarts_are_told_apart() -> None:
    counter = NumberCounter()
    assert [counter.count(number) for number in (5, 6, 9, 8, 9, 10)] == [0, 0, 2, None, None, 0]
    assert (counter.received, counter.missed, counter.repeated, counter.restarts) == (6, 2, 2, 0)
    assert [counter.count(number) for number in (900, 1, 2)] == [889, 0, 0]
    assert (counter.restarts, counter.missed) == (1, 891)


@given(st.lists(st.integers(-FARTHEST_BACK, 50), max_size=60))
def test_no_number_is_unaccounted_for(steps: list[int]) -> None:
    counter = NumberCounter()
    number = 100_000
    counter.count(number)
    for step in steps:
        newest = counter.newest
        assert newest is not None
        counter.count(newest + step)
    assert counter.newest is not None and counter.restarts == 0
    assert counter.received - counter.repeated + counter.missed == counter.newest - number + 1


@given(st.lists(st.integers(0, 10 * LONGEST_GAP), min_size=1))
def test_every_frame_is_counted_once(numbers: list[int]) -> None:
    counter = NumberCounter()
    skipped = [counter.count(number) for number in numbers]
    assert counter.received == len(numbers)
    assert counter.repeated == skipped.count(None)
    assert counter.missed == sum(count or 0 for count in skipped) >= 0
