# SPDX-License-Identifier: Apache-2.0
"""Kalman filter of clock offset and skew over the least delayed frames, with a gate and re-initialisation."""

from __future__ import annotations

import math

from muon_ad_core.timing.estimators import STEEPEST, UNSEEN_EXCESS_NS, ClockEstimator, Estimate, TransportDelay

BATCH_NS = 500_000_000
"""Of the frames in so much device time the least delayed one is a measurement."""
MEASUREMENT_NS = 150_000.0
"""Standard deviation of the delay of such a frame."""
SKEW_PRIOR = 100e3
"""Standard deviation of the skew before anything is known, in ns per second (100 ppm)."""
SKEW_WALK = 20.0
"""Random walk of the skew by temperature, in ns per second per root second (0.02 ppm)."""
GATE = 5.0
"""Measurements further off than so many standard deviations are not believed."""
REFUSALS = 6
"""After so many refused in a row it is the filter that is wrong: it starts anew."""


class KalmanEstimator(ClockEstimator):
    """State: offset in ns at the newest measurement, and skew in ns per second of device time."""

    def __init__(self, delay: TransportDelay) -> None:
        self._delay = delay
        self.reset()

    def reset(self) -> None:
        self._base: tuple[int, int] | None = None  # device time and offset about which the state is linear
        self._batch_began_ns = 0
        self._least: tuple[int, int] | None = None  # of the batch: device time, offset
        self._seen = 0
        self._updated = False
        self._refused = 0

    def observe_arrival(self, device_ns: int, arrival_ns: int) -> None:
        offset_ns = arrival_ns - device_ns
        if self._base is None:
            self._start(device_ns, offset_ns)
        self._seen += 1
        if self._least is None:
            self._batch_began_ns = device_ns
        if self._least is None or offset_ns < self._least[1]:
            self._least = (device_ns, offset_ns)
            if not self._updated:
                self._start(*self._least)
        if device_ns - self._batch_began_ns >= BATCH_NS:
            self._measure(*self._least)
            self._least = None

    def estimate(self, device_ns: int) -> Estimate | None:
        if self._base is None:
            return None
        offset, variance = self._predict(device_ns)
        spread = 3.0 * math.sqrt(variance) + 4 * UNSEEN_EXCESS_NS / self._seen
        host_ns = device_ns + self._base[1] + round(offset) - self._delay.minimum_ns
        return Estimate(host_ns, self._delay.tolerance_ns + round(spread))

    @property
    def skew(self) -> float:
        return self._skew * 1e-9 if self._base is not None else 0.0

    def _start(self, device_ns: int, offset_ns: int) -> None:
        self._base = (device_ns, offset_ns)
        self._at_ns = device_ns
        self._offset, self._skew = 0.0, 0.0
        self._p_oo, self._p_os, self._p_ss = MEASUREMENT_NS**2, 0.0, SKEW_PRIOR**2  # covariance
        self._refused = 0

    def _predict(self, device_ns: int) -> tuple[float, float]:
        """Offset from the base and its variance at `device_ns`."""
        seconds = (device_ns - self._at_ns) * 1e-9
        variance = (
            self._p_oo + 2 * seconds * self._p_os + seconds**2 * self._p_ss + SKEW_WALK**2 * abs(seconds) ** 3 / 3
        )
        return self._offset + self._skew * seconds, max(variance, 0.0)

    def _measure(self, device_ns: int, offset_ns: int) -> None:
        assert self._base is not None
        self._updated = True
        seconds = (device_ns - self._at_ns) * 1e-9
        offset, variance = self._predict(device_ns)
        innovation = offset_ns - self._base[1] - offset
        total = variance + MEASUREMENT_NS**2
        if abs(innovation) > GATE * math.sqrt(total):
            self._refused += 1
            if self._refused >= REFUSALS:
                self._start(device_ns, offset_ns)
            return
        self._refused = 0
        p_os = self._p_os + seconds * self._p_ss + SKEW_WALK**2 * abs(seconds) * seconds / 2
        p_ss = self._p_ss + SKEW_WALK**2 * abs(seconds)
        gain_offset, gain_skew = variance / total, p_os / total
        self._offset = offset + gain_offset * innovation
        self._skew = max(-STEEPEST * 1e9, min(STEEPEST * 1e9, self._skew + gain_skew * innovation))
        self._p_oo = (1.0 - gain_offset) * variance
        self._p_os = (1.0 - gain_offset) * p_os
        self._p_ss = p_ss - gain_skew * p_os
        self._at_ns = device_ns
