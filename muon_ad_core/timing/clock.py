# SPDX-License-Identifier: Apache-2.0
"""A device's clock as seen from the host: frame stamps in host time, with their origin and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

from muon_ad_core.timing.estimators import ClockEstimator, Estimate, TransportDelay
from muon_ad_core.timing.steps import StepDetector
from muon_ad_core.timing.ticks import DUPLICATE, FIRST, FORWARD, REORDER, RESET, TickUnwrapper

ARRIVAL = "arrival"
TRANSLATED = "translated"
HELD = "held"

ARRIVAL_UNCERTAINTY_NS = 50_000_000
"""Of a stamp that is the arrival less the minimum delay, because nothing else is known."""


@dataclass(frozen=True)
class Stamp:
    """When a frame was taken, in host time."""

    stamp_ns: int
    uncertainty_ns: int
    provenance: str
    """`TRANSLATED` from the device's clock; `HELD`: that, moved so as not to run back or lie ahead of the arrival;
    `ARRIVAL`: nothing is known of the device's clock yet."""
    event: str
    """What the device's counter did: an event of muon_ad_core.timing.ticks."""
    epoch: int
    """Grows when the host's clock was set back. Within an epoch stamps of frames in order never run back."""


class _StampGuard:
    """Keeps the stamps of one sensor from lying in the future and from running back."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None
        self.epoch = 0
        """How often the host's clock was set back to before the newest stamp."""

    def guard(self, stamp_ns: int, arrival_ns: int, in_order: bool) -> int:
        """The stamp, moved where it would be later than the arrival or out of order."""
        newest_ns = self._newest_ns
        if not in_order:
            return min(stamp_ns, arrival_ns) if newest_ns is None else min(stamp_ns, arrival_ns, newest_ns)
        if newest_ns is not None:
            if arrival_ns < newest_ns:  # the host's clock was set back
                self.epoch += 1
            else:
                stamp_ns = max(stamp_ns, newest_ns + 1)
        self._newest_ns = min(stamp_ns, arrival_ns)
        return self._newest_ns


class DeviceClock:
    """Translates tick counts of frames to host time, in the order of arrival.

    A stamp is never later than the arrival of its frame. Stamps of frames in order never decrease, unless the host's
    clock itself was set back to before the newest stamp: `Stamp.epoch` tells. An overtaken frame gets its own, older
    stamp. After a reset of the device, or a step of either clock, the relation is learnt anew.
    """

    def __init__(self, estimator: ClockEstimator, ticks: TickUnwrapper, delay: TransportDelay) -> None:
        self._estimator = estimator
        self._ticks = ticks
        self._delay = delay
        self._steps = StepDetector()
        self._guard = _StampGuard()
        self.relearnt = 0
        """How often a reset or a step was found."""

    @property
    def skew(self) -> float:
        """Estimated rate of the host's clock relative to the device's, minus 1."""
        return self._estimator.skew

    def observe_query(self, sent_ns: int, ticks: int, received_ns: int, steady_ns: int | None = None) -> None:
        """The device's counter, asked at host time `sent_ns`, showed `ticks` in the answer of `received_ns`."""
        device_ns = self._ticks.place(ticks, received_ns if steady_ns is None else steady_ns)
        if device_ns is not None:
            self._estimator.observe_query(sent_ns, device_ns, received_ns)

    def stamp(self, ticks: int, arrival_ns: int, steady_ns: int | None = None) -> Stamp:
        """When the frame with count `ticks` was taken, in host time.

        Args:
            ticks: the device's counter at the instant the stamp means.
            arrival_ns: when the frame arrived, on the host's clock.
            steady_ns: the same on a clock that is never stepped; by default the host's clock is taken for one.

        Raises:
            ValueError: the count has more bits than the counter.
        """
        steady_ns = arrival_ns if steady_ns is None else steady_ns
        device = self._ticks.unwrap(ticks, steady_ns)
        if device.event == RESET:
            self._learn_anew()
        if device.in_order:
            self._observe(device.time_ns, arrival_ns, steady_ns)
        estimate = self._estimator.estimate(device.time_ns)
        return _stamp(estimate, arrival_ns, self._delay, self._guard, device.event, device.in_order)

    def place(self, ticks: int, steady_ns: int) -> tuple[int, Estimate] | None:
        """Device time and host time of a count read beside the frames, by what is known now; None when unknown."""
        device_ns = self._ticks.place(ticks, steady_ns)
        estimate = None if device_ns is None else self._estimator.estimate(device_ns)
        return None if device_ns is None or estimate is None else (device_ns, estimate)

    def _observe(self, device_ns: int, arrival_ns: int, steady_ns: int) -> None:
        estimate = self._estimator.estimate(device_ns)
        if estimate is not None:
            excess_ns = arrival_ns - self._delay.minimum_ns - estimate.host_ns
            if self._steps.stepped(excess_ns, estimate.uncertainty_ns, steady_ns):
                self._learn_anew()
        self._estimator.observe_arrival(device_ns, arrival_ns)

    def _learn_anew(self) -> None:
        self._estimator.reset()
        self._steps.reset()
        self.relearnt += 1


class FollowingClock:
    """Stamps the frames of a further sensor of a device, by what the `DeviceClock` of the first one has learnt.

    Frames of both sensors that were taken at one device time get one stamp, whatever the delays of their transport.
    """

    def __init__(self, clock: DeviceClock, delay: TransportDelay) -> None:
        """`delay` of this sensor serves only while nothing is known of the device's clock."""
        self._clock = clock
        self._delay = delay
        self._guard = _StampGuard()
        self._newest_ns: int | None = None
        self._relearnt = clock.relearnt

    def stamp(self, ticks: int, arrival_ns: int, steady_ns: int | None = None) -> Stamp:
        """As `DeviceClock.stamp`."""
        placed = self._clock.place(ticks, arrival_ns if steady_ns is None else steady_ns)
        if placed is None:
            event = FIRST if self._newest_ns is None else RESET
            self._newest_ns = None
            return _stamp(None, arrival_ns, self._delay, self._guard, event, in_order=True)
        device_ns, estimate = placed
        event = self._event(device_ns)
        return _stamp(estimate, arrival_ns, self._delay, self._guard, event, event not in (DUPLICATE, REORDER))

    def _event(self, device_ns: int) -> str:
        newest_ns = self._newest_ns
        if self._relearnt != self._clock.relearnt:  # perhaps the device's clock was reset
            newest_ns, self._relearnt = None, self._clock.relearnt
        if newest_ns is not None and device_ns <= newest_ns:
            return DUPLICATE if device_ns == newest_ns else REORDER
        self._newest_ns = device_ns
        return FIRST if newest_ns is None else FORWARD


def _stamp(
    estimate: Estimate | None, arrival_ns: int, delay: TransportDelay, guard: _StampGuard, event: str, in_order: bool
) -> Stamp:
    """The stamp by an estimate, or by the arrival where there is none, guarded."""
    if estimate is None:
        stamp_ns, uncertainty_ns, provenance = arrival_ns - delay.minimum_ns, ARRIVAL_UNCERTAINTY_NS, ARRIVAL
    else:
        stamp_ns, uncertainty_ns, provenance = estimate.host_ns, estimate.uncertainty_ns, TRANSLATED
    guarded_ns = guard.guard(stamp_ns, arrival_ns, in_order)
    if guarded_ns != stamp_ns:
        uncertainty_ns += abs(guarded_ns - stamp_ns)
        provenance = ARRIVAL if estimate is None else HELD
    return Stamp(guarded_ns, uncertainty_ns, provenance, event, guard.epoch)
