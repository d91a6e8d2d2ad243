# SPDX-License-Identifier: Apache-2.0
"""Estimators find offset and rate of a drifting clock behind heavy-tailed delays."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.estimators import STEEPEST, ClockEstimator, HullEstimator, TransportDelay, TwoWayEstimator
from muon_ad_core.timing.kalman import KalmanEstimator

SECOND = 1_000_000_000
EPOCH_NS = 1_800_000_000_000_000_000
DELAY = TransportDelay(5_000_000, tolerance_ns=100_000)  # that of the simulated frames
MAKERS = [lambda: HullEstimator(DELAY), lambda: KalmanEstimator(DELAY), TwoWayEstimator]
IDS = ["hull", "kalman", "two_way"]
every_estimator = pytest.mark.parametrize("make", MAKERS, ids=IDS)
Maker = Callable[[], ClockEstimator]
Frames = Callable[..., Iterator[Any]]


def observe(estimator: ClockEstimator, frame: Any) -> None:
    estimator.observe_arrival(frame.device_ns, frame.arrival_ns)
    estimator.observe_query(frame.sent_ns, frame.device_ns, frame.received_ns)


def made_frame(device_ns: int, host_ns: int) -> SimpleNamespace:
    """A frame without delay, and a quick query."""
    return SimpleNamespace(device_ns=device_ns, arrival_ns=host_ns, sent_ns=host_ns - 1000, received_ns=host_ns + 1000)


@every_estimator
def test_nothing_is_estimated_from_nothing(make: Maker) -> None:
    estimator = make()
    assert estimator.estimate(0) is None
    assert estimator.skew == 0.0


@every_estimator
@pytest.mark.parametrize("drift", [-80e-6, 0.0, 80e-6])
def test_after_half_a_minute_stamps_are_right_to_a_fifth_of_a_millisecond(
    make: Maker, drift: float, frames: Frames
) -> None:
    estimator = make()
    for number, frame in enumerate(frames(90, drift)):
        observe(estimator, frame)
        if number > 30 * 30:
            estimate = estimator.estimate(frame.device_ns)
            assert estimate is not None
            error_ns = abs(estimate.host_ns - frame.taken_ns)
            assert error_ns < 200_000
            assert error_ns <= estimate.uncertainty_ns < 2_000_000
    assert estimator.skew == pytest.approx(-drift, abs=3e-6)


@every_estimator
def test_uncertainty_shrinks_as_frames_come(make: Maker, frames: Frames) -> None:
    estimator = make()
    uncertainties = []
    for frame in frames(60):
        observe(estimator, frame)
        estimate = estimator.estimate(frame.device_ns)
        assert estimate is not None
        uncertainties.append(estimate.uncertainty_ns)
    assert uncertainties[-1] < uncertainties[30] <= uncertainties[0]


@every_estimator
def test_uncertainty_grows_with_the_time_since_the_last_frame(make: Maker, frames: Frames) -> None:
    estimator = make()
    for frame in frames(20):
        observe(estimator, frame)
    now, later = estimator.estimate(frame.device_ns), estimator.estimate(frame.device_ns + 60 * SECOND)
    assert now is not None and later is not None
    assert later.uncertainty_ns > now.uncertainty_ns


@every_estimator
def test_a_reset_forgets_everything(make: Maker, frames: Frames) -> None:
    estimator = make()
    for frame in frames(5, 80e-6):
        observe(estimator, frame)
    estimator.reset()
    assert estimator.estimate(0) is None
    observe(estimator, made_frame(10, EPOCH_NS))
    assert estimator.skew == 0.0


@every_estimator
@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 3 * SECOND), st.integers(-SECOND, SECOND)), max_size=80))
def test_skew_is_bounded_whatever_comes(make: Maker, steps: list[tuple[int, int]]) -> None:
    estimator = make()
    device_ns = 0
    for advance_ns, offset_ns in steps:
        device_ns += advance_ns
        host_ns = EPOCH_NS + device_ns + offset_ns
        observe(estimator, made_frame(device_ns, host_ns))
        assert abs(estimator.skew) <= STEEPEST


def test_the_kalman_filter_starts_anew_when_it_refuses_all(frames: Frames) -> None:
    estimator = KalmanEstimator(DELAY)
    for frame in frames(30):
        observe(estimator, frame)
    moved_ns = 3_000_000  # too little for a step, too much for the gate
    for later in frames(10, start_device_ns=frame.device_ns + SECOND, seed=1):
        host_ns = later.device_ns + EPOCH_NS
        estimator.observe_arrival(later.device_ns, host_ns + later.arrival_ns - later.taken_ns + moved_ns)
    estimate = estimator.estimate(later.device_ns)
    assert estimate is not None
    assert estimate.host_ns == pytest.approx(host_ns + moved_ns, abs=300_000)


def test_two_way_needs_no_calibration_and_bounds_its_error_by_half_the_round_trip() -> None:
    estimator = TwoWayEstimator()
    estimator.observe_query(EPOCH_NS, 1_000_000, EPOCH_NS + 800_000)
    estimate = estimator.estimate(1_000_000)
    assert estimate is not None
    assert (estimate.host_ns, estimate.uncertainty_ns) == (EPOCH_NS + 400_000, 400_000)
