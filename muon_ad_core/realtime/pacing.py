# SPDX-License-Identifier: Apache-2.0
"""Pacing in monotonic time: a limit on how often frames are accepted, and drift-free periodic deadlines."""

from __future__ import annotations

import threading
import time


class RateLimiter:
    """Accepts at most `max_rate` events a second, evenly spread; 0 accepts all.

    The due times advance by whole periods, so that 15 Hz out of a jittering 30 Hz stream stays 15 Hz instead of
    falling to 10 Hz whenever an event comes a little early.
    """

    _EARLY = 0.2  # share of a period by which an event may come early and still count as due

    def __init__(self, max_rate: float = 0.0) -> None:
        self.max_rate = max_rate
        self._due = 0.0

    def accept(self, now: float) -> bool:
        """Whether the event at monotonic time `now` (seconds) is within the rate."""
        if self.max_rate <= 0.0:
            return True
        period = 1.0 / self.max_rate
        if now < self._due - self._EARLY * period:
            return False
        on_time = now - self._due < period
        self._due = (self._due if on_time else now) + period
        return True


class Pacer:
    """Waits for the instants start, start + 1/rate, start + 2/rate ...; lateness never accumulates."""

    def __init__(self, rate: float) -> None:
        self._period = 1.0 / rate
        self._deadline = time.monotonic()
        self._stopped = threading.Event()

    def wait(self) -> int:
        """Sleep until the next instant; returns how many whole periods had to be skipped because it was past."""
        late = time.monotonic() - self._deadline
        skipped = int(late / self._period) if late > self._period else 0
        self._deadline += skipped * self._period
        self._stopped.wait(max(0.0, self._deadline - time.monotonic()))
        self._deadline += self._period
        return skipped

    def set_rate(self, rate: float) -> None:
        """Change the rate (Hz) from the next instant on."""
        self._period = 1.0 / rate

    def stop(self) -> None:
        """End the present wait and all later ones at once (callable from another thread)."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()
