# SPDX-License-Identifier: Apache-2.0
"""A device's clock as seen from the host: frame stamps in host time, with their origin and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

from muon_ad_core.timing.estimators import ClockEstimator, TransportDelay
from muon_ad_core.timing.steps import StepDetector
from muon_ad_core.timing.ticks import RESET, DeviceTime, TickUnwrapper

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
        self._newest_ns: int | None = None
        self._epoch = 0
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
        if estimate is None:
            stamp_ns, uncertainty_ns, provenance = arrival_ns - self._delay.minimum_ns, ARRIVAL_UNCERTAINTY_NS, ARRIVAL
        else:
            stamp_ns, uncertainty_ns, provenance = estimate.host_ns, estimate.uncertainty_ns, TRANSLATED
        guarded_ns = self._guard(stamp_ns, arrival_ns, device)
        if guarded_ns != stamp_ns:
            uncertainty_ns += abs(guarded_ns - stamp_ns)
            provenance = ARRIVAL if estimate is None else HELD
        return Stamp(guarded_ns, uncertainty_ns, provenance, device.event, self._epoch)

    def _observe(self, device_ns: int, arrival_ns: int, steady_ns: int) -> None:
        estimate = self._estimator.estimate(device_ns)
        if estimate is not None:
            excess_ns = arrival_ns - self._delay.minimum_ns - estimate.host_ns
            if self._steps.stepped(excess_ns, estimate.uncertainty_ns, steady_ns):
                self._learn_anew()
        self._estimator.observe_arrival(device_ns, arrival_ns)

    def _guard(self, stamp_ns: int, arrival_ns: int, device: DeviceTime) -> int:
        """The stamp, moved where it would be later than the arrival or out of order."""
        newest_ns = self._newest_ns
        if not device.in_order:
            return min(stamp_ns, arrival_ns) if newest_ns is None else min(stamp_ns, arrival_ns, newest_ns)
        if newest_ns is not None:
            if arrival_ns < newest_ns:  # the host's clock was set back
                self._epoch += 1
            else:
                stamp_ns = max(stamp_ns, newest_ns + 1)
        self._newest_ns = min(stamp_ns, arrival_ns)
        return self._newest_ns

    def _learn_anew(self) -> None:
        self._estimator.reset()
        self._steps.reset()
        self.relearnt += 1
