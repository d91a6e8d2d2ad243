# SPDX-License-Identifier: Apache-2.0
"""The decision of the pairing engine against every possible set."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.matching import MATCHED, UNMATCHED, WAIT, decide

SLOP = 10
STREAM = st.lists(st.integers(0, 60), min_size=1, max_size=5, unique=True).map(sorted)


def queue(*stamps: int) -> list[tuple[int, None]]:
    return [(stamp, None) for stamp in stamps]


@settings(max_examples=200)
@given(st.lists(STREAM, min_size=2, max_size=4))
def test_the_closest_set_with_the_pivot_is_chosen(streams: list[list[int]]) -> None:
    decision, skipped = decide([queue(*stamps) for stamps in streams], [1000] * len(streams), SLOP)
    pivot = max(stamps[0] for stamps in streams)
    if decision == UNMATCHED:
        oldest = min(stamps[0] for stamps in streams)
        assert sum(skipped) == 1 and pivot > oldest + SLOP
        return
    assert decision == MATCHED
    chosen = [stamps[number] for stamps, number in zip(streams, skipped)]
    with_pivot = [combination for combination in product(*streams) if pivot in combination]
    assert max(chosen) - min(chosen) == min(max(stamps) - min(stamps) for stamps in with_pivot)
    assert max(chosen) - min(chosen) <= SLOP


def test_waits_while_a_frame_to_come_may_be_closer() -> None:
    assert decide([queue(0), queue(6)], [0, 6], SLOP) == (WAIT, [0, 0])
    assert decide([queue(0), queue(6)], [12, 6], SLOP) == (MATCHED, [0, 0])
    assert decide([queue(0, 7), queue(6)], [7, 6], SLOP) == (MATCHED, [1, 0])


def test_equal_stamps_do_not_wait() -> None:
    assert decide([queue(5), queue(5)], [5, 5], SLOP) == (MATCHED, [0, 0])


def test_a_frame_whose_partner_cannot_come_any_more_is_unmatched() -> None:
    assert decide([queue(0), queue()], [0, 9], SLOP) == (WAIT, [0, 0])
    assert decide([queue(0), queue()], [0, 10], SLOP) == (UNMATCHED, [1, 0])
    assert decide([queue(0), queue(11)], [0, 11], SLOP) == (UNMATCHED, [1, 0])


def test_nothing_waits_for_a_stream_that_was_never_seen() -> None:
    assert decide([queue(), queue()], [None, None], SLOP) == (WAIT, [0, 0])
    assert decide([queue(0), queue()], [0, None], SLOP) == (WAIT, [0, 0])
