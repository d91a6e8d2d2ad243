# SPDX-License-Identifier: Apache-2.0
"""Unwrapping: wraps, resets and reordered frames are told apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.ticks import DUPLICATE, FIRST, FORWARD, REORDER, RESET, WRAP, TickUnwrapper

RANGE = 1 << 32
SECOND = 1_000_000  # ticks
MINUTE = 60 * SECOND

# Ticks between two frames: usual ones, and silences up to three hours, which is more than two wraps.
ADVANCES = st.one_of(st.integers(1, 2 * SECOND), st.integers(1, 180 * MINUTE))


def host_ns(ticks: int, drift: float = 0.0) -> int:
    return round(ticks * 1000 * (1.0 + drift))


@settings(max_examples=150)
@given(
    start=st.integers(0, RANGE - 1),
    frames=st.lists(st.tuples(ADVANCES, st.integers(0, 900_000_000)), max_size=40),
    drift=st.floats(-2e-4, 2e-4),
)
def test_any_silence_delay_and_drift_unwraps_to_the_true_time(
    start: int, frames: list[tuple[int, int]], drift: float
) -> None:
    unwrapper = TickUnwrapper()
    assert unwrapper.unwrap(start, 0).event == FIRST
    count, arrival_ns = start, 0
    for advance, delay_ns in frames:
        wraps = (count + advance) // RANGE != count // RANGE
        count += advance
        arrival_ns = max(arrival_ns, host_ns(count - start, drift) + delay_ns)
        device = unwrapper.unwrap(count % RANGE, arrival_ns)
        assert device.time_ns == count * 1000
        assert device.event == (WRAP if wraps else FORWARD)
        assert device.epoch == 0


@settings(max_examples=80)
@given(
    ran=st.integers(1 * MINUTE, RANGE - 10 * SECOND), restarted=st.integers(0, 5 * SECOND), silence=st.integers(0, 5)
)
def test_a_restart_is_a_reset(ran: int, restarted: int, silence: int) -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap(ran, 0)
    device = unwrapper.unwrap(restarted, silence * 1_000_000_000)
    assert (device.event, device.epoch, device.time_ns) == (RESET, 1, restarted * 1000)
    after = unwrapper.unwrap(restarted + 33_333, silence * 1_000_000_000 + 33_333_000)
    assert (after.event, after.epoch) == (FORWARD, 1)


def test_a_restart_long_ago_is_a_reset_too() -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap(10 * MINUTE, 0)
    assert unwrapper.unwrap(2 * SECOND, host_ns(80 * MINUTE)).event == RESET


def test_a_jump_ahead_of_the_host_is_a_reset() -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap(0, 0)
    assert unwrapper.unwrap(10 * MINUTE, host_ns(SECOND)).event == RESET


@settings(max_examples=80)
@given(st.integers(0, RANGE - 1), st.integers(1, 200_000))
def test_an_overtaken_frame_is_reordered_also_across_a_wrap(newest: int, behind: int) -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap((newest - 33_333) % RANGE, 0)
    before = unwrapper.unwrap(newest, host_ns(33_333))
    overtaken = unwrapper.unwrap((newest - behind) % RANGE, host_ns(33_333) + 500_000)
    assert (overtaken.event, overtaken.epoch) == (REORDER, 0)
    assert overtaken.time_ns == before.time_ns - behind * 1000
    assert not overtaken.in_order
    assert unwrapper.unwrap((newest + 33_333) % RANGE, host_ns(66_666)).in_order


def test_the_same_count_again_is_a_duplicate() -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap(5, 0)
    assert unwrapper.unwrap(5, 1000).event == DUPLICATE


def test_a_counter_set_back_a_little_is_a_reset_after_some_frames() -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap(SECOND, 0)
    events = [unwrapper.unwrap(SECOND - 200_000 + 1000 * n, host_ns(1000 * n)).event for n in range(1, 6)]
    assert events == [REORDER, REORDER, REORDER, RESET, FORWARD]


def test_frames_held_up_and_handed_over_in_a_burst_are_forward() -> None:
    unwrapper = TickUnwrapper()
    unwrapper.unwrap(0, 0)
    late_ns = 2_000_000_000
    events = [unwrapper.unwrap(33_333 * n, late_ns + 50_000 * n).event for n in range(1, 60)]
    assert set(events) == {FORWARD}


def test_a_query_is_placed_without_being_taken_for_a_frame() -> None:
    unwrapper = TickUnwrapper()
    assert unwrapper.place(7, 0) is None
    unwrapper.unwrap(RANGE - 10, 0)
    assert unwrapper.place(20, 30_000) == (RANGE + 20) * 1000
    assert unwrapper.place(RANGE // 2, 30_000) is None
    assert unwrapper.unwrap(5, 15_000).event == WRAP


@pytest.mark.parametrize("ticks", [-1, 1 << 24])
def test_a_count_must_fit_the_counter(ticks: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 16777215"):
        TickUnwrapper(bits=24).unwrap(ticks, 0)
