# SPDX-License-Identifier: Apache-2.0
"""From a device's wrapping tick counter to device time that does not wrap."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = "first"
FORWARD = "forward"
WRAP = "wrap"
RESET = "reset"
REORDER = "reorder"
DUPLICATE = "duplicate"

AHEAD_NS = 1_000_000_000
"""A counter that ran this much further than the host's clock was set anew; below that, frames came in a burst."""
BEHIND_NS = 250_000_000
"""A counter this far back was set anew; below that, a frame was overtaken on its way."""
REORDERS_IN_A_ROW = 4
"""So many frames behind the newest one in a row are not overtaken: the counter was set back a little."""
LATE_NS = 10_000_000_000
"""A counter that fell this much behind the host's clock was set anew; below that, a frame was held up."""
RATE_TOLERANCE = 1e-3
"""Bound for the relative rate of the two clocks; crystals differ by less than 2e-4."""


@dataclass(frozen=True)
class DeviceTime:
    """A tick count without wraps."""

    time_ns: int
    """Since the counter's zero of this epoch; never decreases within an epoch, reordered frames apart."""
    epoch: int
    """How many resets there were; times of different epochs must not be compared."""
    event: str
    """`FIRST`, `FORWARD`, `WRAP`, `RESET`, `REORDER` or `DUPLICATE`."""

    @property
    def in_order(self) -> bool:
        """Whether this is the newest time of the device so far."""
        return self.event not in (REORDER, DUPLICATE)


class TickUnwrapper:
    """Tells a wrap of the counter from a reset and from frames that overtook each other.

    The host's clock says how far the counter can have run since the newest frame, also over a silence of several
    wraps. A count that fits is forward, over as many wraps as needed; one slightly behind the newest is reordered;
    anything else means that the counter started anew. A reset to within those tolerances of where the counter would
    be anyhow cannot be seen here; translation treats it as a step.
    """

    def __init__(self, bits: int = 32, tick_ns: int = 1000) -> None:
        """A counter of `bits` bits that counts ticks of `tick_ns` nanoseconds; by default it wraps after 71.6 min."""
        self._range = 1 << bits
        self._tick_ns = tick_ns
        quarter_ns = self._range * tick_ns // 4  # a short counter allows no more
        self._ahead_ns = min(AHEAD_NS, quarter_ns)
        self._behind_ns = min(BEHIND_NS, quarter_ns)
        self._epoch = 0
        self._newest: int | None = None  # in ticks, without wraps
        self._newest_steady_ns = 0
        self._reorders = 0

    def unwrap(self, ticks: int, steady_ns: int) -> DeviceTime:
        """The device time of a frame, in the order of arrival.

        Args:
            ticks: the counter as read, 0 to 2^bits - 1.
            steady_ns: when the frame arrived, on a host clock that is never stepped.

        Raises:
            ValueError: the count has more bits than the counter.
        """
        if not 0 <= ticks < self._range:
            raise ValueError(f"a count must be between 0 and {self._range - 1}, not {ticks}")
        if self._newest is None:
            return self._advance(ticks, steady_ns, FIRST)
        count = self._nearest(ticks, steady_ns)
        if count is None:
            return self._reset(ticks, steady_ns)
        if count == self._newest:
            return DeviceTime(count * self._tick_ns, self._epoch, DUPLICATE)
        if count < self._newest:
            self._reorders += 1
            if self._reorders >= REORDERS_IN_A_ROW:
                return self._reset(ticks, steady_ns)
            return DeviceTime(count * self._tick_ns, self._epoch, REORDER)
        wrapped = count // self._range != self._newest // self._range
        return self._advance(count, steady_ns, WRAP if wrapped else FORWARD)

    def place(self, ticks: int, steady_ns: int) -> int | None:
        """Device time in ns of a count read beside the frames, for example by a query; None when it does not fit."""
        count = self._nearest(ticks, steady_ns)
        return None if count is None else count * self._tick_ns

    def _nearest(self, ticks: int, steady_ns: int) -> int | None:
        """The count without wraps that fits the host's clock, or None."""
        if self._newest is None:
            return None
        elapsed_ns = max(0, steady_ns - self._newest_steady_ns)
        rate_ns = int(elapsed_ns * RATE_TOLERANCE)
        # The latest count not too far ahead: a frame that was held up may be far behind what is expected.
        latest = self._newest + (elapsed_ns + rate_ns + self._ahead_ns) // self._tick_ns
        count = latest - (latest - ticks) % self._range
        advance_ns = (count - self._newest) * self._tick_ns
        fits = advance_ns >= -self._behind_ns and advance_ns >= elapsed_ns - rate_ns - LATE_NS
        return count if fits else None

    def _reset(self, ticks: int, steady_ns: int) -> DeviceTime:
        self._epoch += 1
        return self._advance(ticks, steady_ns, RESET)

    def _advance(self, count: int, steady_ns: int, event: str) -> DeviceTime:
        self._newest, self._newest_steady_ns, self._reorders = count, steady_ns, 0
        return DeviceTime(count * self._tick_ns, self._epoch, event)
