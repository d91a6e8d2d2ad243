# SPDX-License-Identifier: Apache-2.0
"""Say a fault once: which faults are worth a log line now, so that a bad stream does not flood the log."""

from __future__ import annotations


class Complaints:
    """Remembers which causes have been complained about.

    A cause is said once; after things went well again it may be said anew, at most once every `quiet` seconds.
    """

    def __init__(self, quiet: float = 60.0) -> None:
        self._quiet = quiet
        self._said_at: dict[str, float] = {}
        self._standing: set[str] = set()

    def should_say(self, cause: str, now: float) -> bool:
        """Whether `cause` deserves a line at monotonic time `now` (seconds)."""
        if cause in self._standing or now - self._said_at.get(cause, -self._quiet) < self._quiet:
            return False
        self._standing.add(cause)
        self._said_at[cause] = now
        return True

    def recovered(self) -> None:
        """Things go well again: every cause may be said anew (after the quiet time)."""
        self._standing.clear()
