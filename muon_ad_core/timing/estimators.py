# SPDX-License-Identifier: Apache-2.0
"""Estimators of what a host clock showed at a device time. All times are integer nanoseconds.

One-sided estimators see frames arrive: arrival = host time of the device time + delay, with a delay that has a
minimum known from calibration and a long tail. The two-way estimator sees queries of the device's clock, each of
which bounds the offset from both sides, and needs no calibration. docs/clocks.md has measured figures of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from muon_ad_core.timing.hull import Line, RollingHull

WINDOW_NS = 60_000_000_000
"""Long enough to see several undelayed frames, short enough for the rate of a crystal that warms up."""
STEEPEST = 200e-6
"""Bound for the relative rate of two clocks (skew); crystals of cameras are specified to 100 ppm or less."""
UNSEEN_EXCESS_NS = 5_000_000
"""Excess delay assumed of frames before any was seen."""


@dataclass(frozen=True)
class TransportDelay:
    """From the instant a stamp means (mid-exposure, or start of frame) to the arrival of the frame at the host."""

    minimum_ns: int = 0
    """Delay of an undelayed frame; a constant error of it is a constant error of all stamps."""
    tolerance_ns: int = 1_000_000
    """How well the minimum is known."""


@dataclass(frozen=True)
class Estimate:
    """Host time of a device time."""

    host_ns: int
    uncertainty_ns: int
    """Bound of the error that holds for nearly all frames, not a standard deviation."""


class ClockEstimator(ABC):
    """Learns the relation of one device's clock to the host's clock, within one epoch of the device's clock."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything: the device's clock or the host's was set anew."""

    def observe_arrival(self, device_ns: int, arrival_ns: int) -> None:  # noqa: B027 - not all use arrivals
        """A frame of `device_ns` arrived at host time `arrival_ns`; device times increase."""

    def observe_query(self, sent_ns: int, device_ns: int, received_ns: int) -> None:  # noqa: B027 - nor queries
        """The device's clock, asked at host time `sent_ns`, showed `device_ns` in the answer of `received_ns`."""

    @abstractmethod
    def estimate(self, device_ns: int) -> Estimate | None:
        """Host time at `device_ns`; None before anything was observed."""

    @property
    @abstractmethod
    def skew(self) -> float:
        """Estimated rate of the host's clock relative to the device's, minus 1; within +-`STEEPEST`."""


class HullEstimator(ClockEstimator):
    """The closest line below all recent arrivals: exact for any delays, as long as some frames are undelayed."""

    def __init__(self, delay: TransportDelay, window_ns: int = WINDOW_NS) -> None:
        self._delay = delay
        self._window_ns = window_ns
        self.reset()

    def reset(self) -> None:
        self._points = RollingHull(self._window_ns)
        self._line: Line | None = None
        self._newest_ns = 0

    def observe_arrival(self, device_ns: int, arrival_ns: int) -> None:
        self._points.add(device_ns, arrival_ns - device_ns)
        self._line = self._points.hull.line(STEEPEST)
        self._newest_ns = device_ns

    def estimate(self, device_ns: int) -> Estimate | None:
        if self._line is None:
            return None
        hull = self._points.hull
        # The least of n excess delays is about their mean / n; 4 for the leverage of a line's ends and the tail.
        unseen = 4 * (hull.mean_excess(self._line) + UNSEEN_EXCESS_NS) / hull.count
        ahead = STEEPEST * max(0, device_ns - self._newest_ns)
        uncertainty_ns = self._delay.tolerance_ns + round(unseen + ahead)
        return Estimate(device_ns + self._line.at(device_ns) - self._delay.minimum_ns, uncertainty_ns)

    @property
    def skew(self) -> float:
        return self._line.slope if self._line else 0.0


class TwoWayEstimator(ClockEstimator):
    """The line midway between the bounds that queries set: the device's clock is read after asking, before the answer.

    The error is at most half the shortest round trip, and less when both ways are about equally long.
    """

    def __init__(self, window_ns: int = WINDOW_NS) -> None:
        self._window_ns = window_ns
        self.reset()

    def reset(self) -> None:
        self._answers = RollingHull(self._window_ns)
        self._questions = RollingHull(self._window_ns)
        self._above: Line | None = None
        self._below: Line | None = None  # mirrored at the x axis
        self._newest_ns = 0

    def observe_query(self, sent_ns: int, device_ns: int, received_ns: int) -> None:
        if self._above is not None and device_ns <= self._newest_ns:
            return  # answers that overtook each other
        self._answers.add(device_ns, received_ns - device_ns)
        self._questions.add(device_ns, device_ns - sent_ns)
        self._above = self._answers.hull.line(STEEPEST)
        self._below = self._questions.hull.line(STEEPEST)
        self._newest_ns = device_ns

    def estimate(self, device_ns: int) -> Estimate | None:
        if self._above is None or self._below is None:
            return None
        above, below = self._above.at(device_ns), -self._below.at(device_ns)
        ahead = STEEPEST * max(0, device_ns - self._newest_ns)
        return Estimate(device_ns + (above + below) // 2, abs(above - below) // 2 + round(ahead))

    @property
    def skew(self) -> float:
        if self._above is None or self._below is None:
            return 0.0
        return (self._above.slope - self._below.slope) / 2
