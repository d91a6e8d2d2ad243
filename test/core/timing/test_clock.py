# SPDX-License-Identifier: Apache-2.0
"""DeviceClock: never a future stamp, never back, through wraps, resets, steps and drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.clock import ARRIVAL, HELD, TRANSLATED, DeviceClock, FollowingClock, Stamp
from muon_ad_core.timing.estimators import STEEPEST, ClockEstimator, HullEstimator, TransportDelay, TwoWayEstimator
from muon_ad_core.timing.kalman import KalmanEstimator
from muon_ad_core.timing.ticks import DUPLICATE, FIRST, FORWARD, REORDER, RESET, WRAP, TickUnwrapper

SECOND = 1_000_000_000
EPOCH_NS = 1_800_000_000_000_000_000
MINIMUM_NS = 5_000_000
DELAY = TransportDelay(MINIMUM_NS, tolerance_ns=100_000)  # that of the simulated frames
RANGE_NS = (1 << 32) * 1000
MAKERS = {"hull": lambda: HullEstimator(DELAY), "kalman": lambda: KalmanEstimator(DELAY), "two_way": TwoWayEstimator}
every_estimator = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
one_sided = pytest.mark.parametrize("make", [MAKERS["hull"], MAKERS["kalman"]], ids=["hull", "kalman"])
Maker = Callable[[], ClockEstimator]
Frames = Callable[..., Iterator[Any]]


def clock_of(make: Maker) -> DeviceClock:
    return DeviceClock(make(), TickUnwrapper(), DELAY)


def stamp_frame(clock: DeviceClock, frame: Any, host_step_ns: int = 0) -> Stamp:
    """Ask the clock and stamp a frame, on a host clock that was set by `host_step_ns`."""
    clock.observe_query(
        frame.sent_ns + host_step_ns, frame.ticks, frame.received_ns + host_step_ns, steady_ns=frame.received_ns
    )
    return clock.stamp(frame.ticks, frame.arrival_ns + host_step_ns, steady_ns=frame.arrival_ns)


def check_order(stamps: list[Stamp], arrivals_ns: list[int]) -> None:
    """No stamp is after its arrival; those of frames in order do not run back within an epoch."""
    assert all(stamp.stamp_ns <= arrival_ns for stamp, arrival_ns in zip(stamps, arrivals_ns))
    ordered = [stamp for stamp in stamps if stamp.event not in (REORDER, DUPLICATE)]
    for before, after in pairwise(ordered):
        assert after.epoch > before.epoch or (after.epoch == before.epoch and after.stamp_ns >= before.stamp_ns)


@every_estimator
@settings(max_examples=40)
@given(
    start=st.integers(0, RANGE_NS),
    drift=st.floats(-1e-4, 1e-4),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["frame"] * 12 + ["reset", "reorder", "silence", "host_step"]),
            st.integers(20_000_000, 50_000_000),
            st.integers(0, 200_000_000),
        ),
        max_size=60,
    ),
)
def test_wraps_resets_drift_and_steps(make: Maker, start: int, drift: float, steps: list[tuple[str, int, int]]) -> None:
    clock = clock_of(make)
    device_ns, taken_ns, steady_ns, host_step_ns = start, EPOCH_NS, 0, 0
    stamps, arrivals_ns = [], []
    for kind, period_ns, delay_ns in steps:
        if kind == "silence":
            period_ns = 100 * delay_ns * 60
        elif kind == "host_step":
            host_step_ns += delay_ns - 100_000_000
        taken_ns += period_ns
        device_ns = delay_ns if kind == "reset" else device_ns + round(period_ns * (1.0 + drift))
        steady_ns = max(steady_ns + 1, taken_ns + MINIMUM_NS + delay_ns)
        read_ns = max(0, device_ns - 40_000_000) if kind == "reorder" else device_ns
        frame = SimpleNamespace(
            ticks=read_ns // 1000 % (1 << 32),
            arrival_ns=steady_ns,
            sent_ns=taken_ns - 500_000,
            received_ns=taken_ns + 500_000,
        )
        stamps.append(stamp_frame(clock, frame, host_step_ns))
        arrivals_ns.append(steady_ns + host_step_ns)
        assert abs(clock.skew) <= STEEPEST
    check_order(stamps, arrivals_ns)


@every_estimator
@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 10**19)), max_size=60))
def test_not_even_nonsense_makes_a_future_stamp_or_one_that_runs_back(
    make: Maker, readings: list[tuple[int, int]]
) -> None:
    clock = clock_of(make)
    stamps = [clock.stamp(ticks, arrival_ns) for ticks, arrival_ns in readings]
    check_order(stamps, [arrival_ns for _, arrival_ns in readings])


def test_provenance_tells_what_a_stamp_comes_from() -> None:
    clock = DeviceClock(TwoWayEstimator(), TickUnwrapper(), TransportDelay(minimum_ns=1000))
    first = clock.stamp(1000, EPOCH_NS)
    assert (first.provenance, first.event) == (ARRIVAL, FIRST)
    assert first.stamp_ns == EPOCH_NS - 1000
    clock.observe_query(EPOCH_NS + 10_000_000, 21_000, EPOCH_NS + 10_400_000)
    second = clock.stamp(34_000, EPOCH_NS + 33_000_000)
    assert second.provenance == TRANSLATED
    assert second.uncertainty_ns < first.uncertainty_ns
    held = clock.stamp(40_000, second.stamp_ns + 4_000_000)  # translated, it would lie after its arrival
    assert (held.provenance, held.stamp_ns) == (HELD, second.stamp_ns + 4_000_000)
    assert held.uncertainty_ns > second.uncertainty_ns


@every_estimator
def test_stamps_stay_right_across_a_wrap(make: Maker, frames: Frames) -> None:
    clock = clock_of(make)
    stamps = []
    for frame in frames(60, 80e-6, start_device_ns=RANGE_NS - 40 * SECOND):
        stamps.append(stamp_frame(clock, frame))
        if len(stamps) > 30 * 30:
            assert stamps[-1].stamp_ns == pytest.approx(frame.taken_ns, abs=250_000)
    assert [stamp.event for stamp in stamps].count(WRAP) == 1
    assert clock.relearnt == 0


@every_estimator
def test_a_reset_is_learnt_anew_within_seconds(make: Maker, frames: Frames) -> None:
    clock = clock_of(make)
    for number, frame in enumerate(frames(60)):
        if number >= 900:  # the device restarted at 30 s
            frame = replace(frame, device_ns=frame.device_ns - 29 * SECOND)
        stamp = stamp_frame(clock, frame)
        if number == 900:
            assert stamp.event == RESET
        if number > 900 + 150:
            assert stamp.stamp_ns == pytest.approx(frame.taken_ns, abs=400_000)
    assert clock.relearnt == 1


@one_sided
@pytest.mark.parametrize("step_ns", [37 * SECOND, -37 * SECOND, 20_000_000, -20_000_000])
def test_a_step_of_the_host_is_learnt_anew(make: Maker, step_ns: int, frames: Frames) -> None:
    clock = clock_of(make)
    for number, frame in enumerate(frames(60)):
        step = step_ns if number >= 900 else 0
        stamp = stamp_frame(clock, frame, step)
        if number > 900 + 150:
            assert stamp.stamp_ns == pytest.approx(frame.taken_ns + step, abs=400_000)
    assert clock.relearnt == 1
    assert stamp.epoch == (1 if step_ns == -37 * SECOND else 0)


@one_sided
def test_a_second_of_congestion_is_no_step(make: Maker, frames: Frames) -> None:
    clock = clock_of(make)
    for number, frame in enumerate(frames(60)):
        if 900 <= number < 930:
            frame = replace(frame, arrival_ns=frame.arrival_ns + 50_000_000)
        stamp = stamp_frame(clock, frame)
        if number > 900:
            assert stamp.stamp_ns == pytest.approx(frame.taken_ns, abs=250_000)
    assert clock.relearnt == 0


@every_estimator
def test_a_slewed_host_clock_is_followed(make: Maker, frames: Frames) -> None:
    clock = clock_of(make)
    for number, frame in enumerate(frames(240)):
        slewed_ns = round(max(0, number - 3600) / 30 * 50e-6 * SECOND)  # 50 ppm from the second minute on
        stamp = stamp_frame(clock, frame, slewed_ns)
        if number > 30 * 30:
            assert stamp.stamp_ns == pytest.approx(frame.taken_ns + slewed_ns, abs=3_500_000)
    assert stamp.stamp_ns == pytest.approx(frame.taken_ns + slewed_ns, abs=250_000)
    assert clock.relearnt == 0


def test_an_overtaken_frame_gets_its_own_older_stamp(frames: Frames) -> None:
    clock = clock_of(MAKERS["hull"])
    seen = list(frames(10))
    for frame in seen[:-2]:
        stamp_frame(clock, frame)
    newest = stamp_frame(clock, seen[-1])
    overtaken = stamp_frame(clock, replace(seen[-2], arrival_ns=seen[-1].arrival_ns + 1000))
    assert overtaken.event == REORDER
    assert overtaken.stamp_ns == pytest.approx(newest.stamp_ns - SECOND / 30, abs=2000)


def test_a_following_sensor_gets_the_stamps_of_the_first(frames: Frames) -> None:
    """Frames taken at one device time have one stamp, although those of the second sensor take 40 ms longer."""
    clock = clock_of(MAKERS["hull"])
    follower = FollowingClock(clock, replace(DELAY, minimum_ns=MINIMUM_NS + 40_000_000))
    for index, frame in enumerate(frames(20.0, drift=80e-6, start_device_ns=RANGE_NS - 10 * SECOND)):
        first = clock.stamp(frame.ticks, frame.arrival_ns)
        second = follower.stamp(frame.ticks, frame.arrival_ns + 40_000_000)
        assert second.stamp_ns == pytest.approx(first.stamp_ns, abs=1000 + index % 2)
        assert second.event == (FIRST if index == 0 else FORWARD)
        assert second.provenance in (TRANSLATED, HELD)


def test_a_following_sensor_starts_anew_with_the_device(frames: Frames) -> None:
    clock = clock_of(MAKERS["hull"])
    follower = FollowingClock(clock, DELAY)
    assert follower.stamp(5, EPOCH_NS).provenance == ARRIVAL  # nothing is known of the device's clock yet
    for frame in frames(2.0, start_device_ns=500 * SECOND):
        clock.stamp(frame.ticks, frame.arrival_ns)
        follower.stamp(frame.ticks, frame.arrival_ns)
    early = follower.stamp(1000, frame.arrival_ns + SECOND)  # the first sensor has not told of the reset yet
    assert (early.provenance, early.event) == (ARRIVAL, RESET)
    assert clock.stamp(2000, frame.arrival_ns + SECOND).event == RESET
    after = follower.stamp(2000, frame.arrival_ns + SECOND + 1000)
    assert (after.provenance, after.event) == (HELD, FIRST)
    assert follower.stamp(2000, frame.arrival_ns + SECOND + 2000).event == DUPLICATE
    assert follower.stamp(1500, frame.arrival_ns + SECOND + 3000).event == REORDER


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 2**32 - 1), st.integers(-(10**9), 10**10)), min_size=1, max_size=40
    )
)
def test_not_even_nonsense_makes_a_following_sensor_run_back(frames: list[tuple[bool, int, int]]) -> None:
    clock = clock_of(MAKERS["hull"])
    follower = FollowingClock(clock, DELAY)
    arrival_ns = EPOCH_NS
    stamps, arrivals = [], []
    for is_first, ticks, step_ns in frames:
        arrival_ns += step_ns
        if is_first:
            clock.stamp(ticks, arrival_ns)
        else:
            stamps.append(follower.stamp(ticks, arrival_ns))
            arrivals.append(arrival_ns)
    check_order(stamps, arrivals)
