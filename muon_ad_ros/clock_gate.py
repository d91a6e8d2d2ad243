# SPDX-License-Identifier: Apache-2.0
"""Whether work that needs a locked clock may go on, by what clock_monitor last said."""

from __future__ import annotations

STALE = 3.0
"""Seconds after which a status no longer counts."""


class ClockGate:
    """Open while the newest status is fresh and says that the clock is locked."""

    def __init__(self) -> None:
        self._locked = False
        self._reason = ""
        self._heard: float | None = None

    def remember(self, locked: bool, reason: str, now: float) -> None:
        """A status came; `now` in seconds on any steady clock."""
        self._locked, self._reason, self._heard = locked, reason, now

    def closed(self, now: float) -> str:
        """Why the gate is closed; empty when it is open."""
        if self._heard is None:
            return "no clock/status was heard: start clock_monitor, or set require_clock_locked to false"
        if now - self._heard > STALE:
            return f"the last clock/status is {now - self._heard:.0f} s old: does clock_monitor still run?"
        return "" if self._locked else f"the clock is not locked: {self._reason}"
