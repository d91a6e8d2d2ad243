# SPDX-License-Identifier: Apache-2.0
"""Playback timing: rate, pause, step and loops, as properties over many message times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.playback import JUMP_NS, ROUND_GAP_NS, PlaybackClock

START = 1_700_000_000_000_000_000
WALL = 5_000_000_000
SECOND = 1_000_000_000

rates = st.floats(0.01, 100.0)
offsets = st.lists(st.integers(0, 3600 * SECOND), min_size=1, max_size=50).map(sorted)


@given(rates, offsets)
def test_messages_are_due_at_their_time_divided_by_the_rate(rate: float, times: list[int]) -> None:
    clock = PlaybackClock(START, WALL, rate)
    for time in times:
        due = clock.due(clock.admit(START + time))
        assert due is not None
        assert due - WALL == pytest.approx(time / rate, abs=2)
        assert clock.play_time(due) == pytest.approx(START + time, abs=rate + 2)


@given(rates, rates, st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_change_of_rate_keeps_play_time_continuous(before: float, after: float, first: int, second: int) -> None:
    clock = PlaybackClock(START, WALL, before)
    at_change = clock.play_time(WALL + first)
    clock.set_rate(after, WALL + first)
    assert clock.rate == after
    assert clock.play_time(WALL + first) == at_change
    assert clock.play_time(WALL + first + second) - at_change == pytest.approx(second * after, abs=1)


@given(rates, st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_pause_stops_play_time_and_delays_what_follows(rate: float, before: int, pause: int, after: int) -> None:
    clock = PlaybackClock(START, WALL, rate)
    clock.pause(WALL + before)
    paused_at = clock.play_time(WALL + before)
    assert clock.paused
    assert clock.play_time(WALL + before + pause) == paused_at
    assert clock.due(paused_at + after) is None
    assert clock.due(paused_at) == WALL + before
    clock.resume(WALL + before + pause)
    due = clock.due(paused_at + after)
    assert due is not None
    assert due - (WALL + before + pause) == pytest.approx(after / rate, abs=2)


@given(offsets)
def test_steps_make_one_message_after_the_other_due_in_a_pause(times: list[int]) -> None:
    clock = PlaybackClock(START, WALL, paused=True)
    for time in times:
        play = clock.admit(START + time)
        if play > clock.play_time(WALL):
            assert clock.due(play) is None
        clock.step(play)
        due = clock.due(play)
        assert due is not None and due <= WALL + SECOND
        assert clock.play_time(WALL + SECOND) == START + time
    clock.resume(WALL + SECOND)
    assert clock.play_time(WALL + 3 * SECOND) == START + times[-1] + 2 * SECOND


def test_a_step_while_playing_changes_nothing() -> None:
    clock = PlaybackClock(START, WALL)
    clock.step(START + 100 * SECOND)
    assert clock.play_time(WALL) == START


@given(offsets, st.integers(2, 5))
def test_rounds_of_a_loop_follow_each_other_with_the_recorded_spacing(times: list[int], rounds: int) -> None:
    clock = PlaybackClock(START, WALL)
    played = [[clock.admit(START + time, number) for time in times] for number in range(rounds)]
    for number, round_times in enumerate(played):
        assert [time - round_times[0] for time in round_times] == [time - times[0] for time in times]
        if number:
            assert round_times[0] == played[number - 1][-1] + ROUND_GAP_NS
    assert played[0] == [START + time for time in times]
    assert clock.jumps == 0


@given(offsets, st.integers(JUMP_NS + 1, 10**15))
def test_a_jump_back_of_the_recorded_clock_is_counted_and_bridged(times: list[int], jump: int) -> None:
    clock = PlaybackClock(START, WALL)
    before = [clock.admit(START + time) for time in times]
    after = [clock.admit(START + times[-1] - jump + time) for time in (0, SECOND, 2 * SECOND)]
    assert clock.jumps == 1
    assert after == [before[-1] + ROUND_GAP_NS + time for time in (0, SECOND, 2 * SECOND)]


@given(st.integers(1, JUMP_NS))
def test_messages_slightly_out_of_order_keep_their_time_and_are_due_at_once(early: int) -> None:
    clock = PlaybackClock(START, WALL)
    clock.admit(START + 10 * SECOND)
    play = clock.admit(START + 10 * SECOND - early)
    assert play == START + 10 * SECOND - early
    assert clock.jumps == 0
    due = clock.due(play)
    assert due is not None and due <= WALL + 10 * SECOND


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="rate must be positive"):
        PlaybackClock(START, WALL, rate)
    clock = PlaybackClock(START, WALL)
    with pytest.raises(ParameterError, match="rate must be positive"):
        clock.set_rate(rate, WALL)
    assert clock.rate == 1.0
