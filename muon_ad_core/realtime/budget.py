# SPDX-License-Identifier: Apache-2.0
"""Who gives way when style's frames are late or slow: detection's rate first, then style's level, then detection again.

A narrower network paints almost as well; a detector that looks twice a second is of little use to a robot. So detection
is held to a useful rate before style's level is lowered, and to less only when no level is left and frames come late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muon_ad_core.realtime.level import LevelController

UNLIMITED = 0.0


@dataclass(frozen=True)
class Allowance:
    """What the workers may use: style's `level`, and most detections a second (`UNLIMITED`: no limit)."""

    level: str
    detection_hz: float = UNLIMITED


def allowance_ladder(levels: Sequence[str], detection_rates: Sequence[float]) -> list[Allowance]:
    """Allowances from the cheapest to the best.

    levels: style's, cheapest first. detection_rates: limits in Hz, in any order; without one, detection is never
    limited. On the way down detection is held to the highest limit, then the levels are lowered one by one, then
    detection gets the lower limits; on the way up all return in the opposite order. Raises ValueError when there is no
    level.
    """
    if not levels:
        raise ValueError("a budget needs at least one level of style")
    limits = sorted({rate for rate in detection_rates if rate > 0.0})
    if not limits:
        return [Allowance(level) for level in levels]
    *low, useful = limits
    starved = [Allowance(levels[0], limit) for limit in low]
    lowered = [Allowance(level, useful) for level in levels]
    return [*starved, *lowered, Allowance(levels[-1])]


class Budget:
    """The allowances in force, from the times of style's frames.

    `levels` and `detection_rates` are as in `allowance_ladder`, `deadline_ms` and `median_share` as in
    `LevelController`; `configure` changes them while running.
    """

    def __init__(
        self, levels: Sequence[str], detection_rates: Sequence[float], deadline_ms: float, median_share: float = 1.0
    ) -> None:
        self._ladder: list[Allowance] = []
        self.configure(levels, detection_rates, deadline_ms, median_share)

    @property
    def allowance(self) -> Allowance:
        """What the workers may use now."""
        return self._controller.level

    @property
    def given_up(self) -> int:
        """How many steps below the best allowance this is."""
        return self._controller.below_best

    def configure(
        self, levels: Sequence[str], detection_rates: Sequence[float], deadline_ms: float, median_share: float = 1.0
    ) -> None:
        """Use other levels, rates or times; a new ladder begins at its best step."""
        ladder = allowance_ladder(levels, detection_rates)
        if ladder != self._ladder:
            self._ladder = ladder
            narrowest = max(index for index, step in enumerate(ladder) if step.level == levels[0])
            self._controller = LevelController(ladder, deadline_ms, median_share, median_floor=narrowest)
        self._controller.deadline_ms, self._controller.median_share = deadline_ms, median_share

    def frame(self, total_ms: float, lost: int = 0) -> Allowance:
        """Take in one stylised frame: its age in milliseconds and the frames lost just before it."""
        return self._controller.update(total_ms, lost)
