# SPDX-License-Identifier: Apache-2.0
"""Tell a step of a clock from delays and from slow drift."""

from __future__ import annotations

STEP_NS = 5_000_000
"""Offsets that change by less are followed by the estimator (slew)."""
CONFIRM_NS = 2_000_000_000
"""A delay may last; when not one frame came undelayed for so long, the clock was stepped."""
CONFIRM_FRAMES = 10


class StepDetector:
    """Judges how much later frames arrive than the estimator expects of undelayed ones.

    Much earlier is impossible unless a clock was stepped. Much later happens by delays, and is a step only when every
    frame of two seconds is.
    """

    def __init__(self) -> None:
        self._late_since_ns: int | None = None
        self._late_frames = 0

    def reset(self) -> None:
        """Forget the frames so far."""
        self._late_since_ns, self._late_frames = None, 0

    def stepped(self, excess_ns: int, uncertainty_ns: int, steady_ns: int) -> bool:
        """Whether the clocks were stepped.

        Args:
            excess_ns: arrival of a frame minus its arrival if it were undelayed, as estimated.
            uncertainty_ns: of that estimate.
            steady_ns: when the frame arrived, on a clock that is never stepped.
        """
        bound_ns = STEP_NS + uncertainty_ns
        if excess_ns <= bound_ns:
            self.reset()
            return excess_ns < -bound_ns
        if self._late_since_ns is None:
            self._late_since_ns = steady_ns
        self._late_frames += 1
        return self._late_frames >= CONFIRM_FRAMES and steady_ns - self._late_since_ns >= CONFIRM_NS
