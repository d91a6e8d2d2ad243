# SPDX-License-Identifier: Apache-2.0
"""Frame numbers of a camera: what was lost before it reached this program."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_GAP = 30_000
"""Frames; a number further ahead than this is a counter that was set anew."""
FARTHEST_BACK = 10
"""Frames; one further behind the newest was not overtaken: the counter was set back."""


@dataclass
class NumberCounter:
    """Follows the numbers of one stream: between the first and the newest, each is received or missed.

    Unless the counter was set anew while streaming, ``received - repeated + missed == newest - first + 1``.
    """

    received: int = 0
    missed: int = 0
    """Numbers that were skipped."""
    repeated: int = 0
    """Frames whose number was there already, or that a newer one had overtaken."""
    restarts: int = 0
    """How often the counter was set anew."""
    newest: int | None = None

    def count(self, number: int) -> int | None:
        """Take in a frame's number; returns how many were skipped before it, or None when it is a repeated one."""
        self.received += 1
        newest = self.newest
        ahead = 1 if newest is None else number - newest
        if -FARTHEST_BACK <= ahead <= 0:
            self.repeated += 1
            return None
        self.newest = number
        if not 0 < ahead <= LONGEST_GAP:
            self.restarts += 1
            return 0
        self.missed += ahead - 1
        return ahead - 1
