# SPDX-License-Identifier: Apache-2.0
"""Stamps of the frames of one RealSense device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muon_ad_core.sources.realsense.frames import GLOBAL_TIME, HARDWARE_CLOCK, DeviceFrame
from muon_ad_core.timing.clock import ARRIVAL, ARRIVAL_UNCERTAINTY_NS, DeviceClock, FollowingClock, Stamp
from muon_ad_core.timing.estimators import HullEstimator, TransportDelay
from muon_ad_core.timing.ticks import TickUnwrapper

GLOBAL = "global_time"
"""Provenance: librealsense's own translation, see `GLOBAL_UNCERTAINTY_NS`."""
GLOBAL_UNCERTAINTY_NS = 6_000_000
"""p99 error of librealsense's fit under slow queries, by ``muon-ad bench sync``."""
NOT_COUNTED = ""
"""Event of a stamp that does not come from the device's counter."""


class FrameStamper:
    """Gives each frame of one device its stamp, from when it was plugged in until it is unplugged.

    The first of the streams teaches the device's clock, the others follow it: what the device took at one instant
    has one stamp.
    """

    def __init__(self, streams: Sequence[str], delays: Mapping[str, TransportDelay]) -> None:
        """`streams` in use, the one with the steadiest transport first; `delays` of each."""
        first, *others = streams
        clock = DeviceClock(HullEstimator(delays[first]), TickUnwrapper(), delays[first])
        self._device_clock = clock
        self._clocks: dict[str, DeviceClock | FollowingClock] = {first: clock}
        self._clocks |= {name: FollowingClock(clock, delays[name]) for name in others}
        self._delays = delays

    @property
    def skew(self) -> float:
        """Estimated rate of the host's clock relative to the device's, minus 1."""
        return self._device_clock.skew

    def stamp(self, frame: DeviceFrame) -> Stamp:
        """When the frame was taken, in host time; never later than its arrival. Recorded ones count as taken now."""
        if frame.domain == HARDWARE_CLOCK or not frame.session.live:
            return self._clocks[frame.stream].stamp(frame.ticks, frame.arrival_ns, frame.steady_ns)
        if frame.domain == GLOBAL_TIME:
            stamp_ns = min(round(frame.timestamp_ms * 1e6), frame.arrival_ns)
            return Stamp(stamp_ns, GLOBAL_UNCERTAINTY_NS, GLOBAL, NOT_COUNTED, 0)
        stamp_ns = frame.arrival_ns - self._delays[frame.stream].minimum_ns
        return Stamp(stamp_ns, ARRIVAL_UNCERTAINTY_NS, ARRIVAL, NOT_COUNTED, 0)
