# SPDX-License-Identifier: Apache-2.0
"""Level of detail by deadline: lower the level when frames come late, raise it again with hysteresis."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class LevelController:
    """Chooses among `levels` (cheapest first) from the total time of each frame against its deadline.

    Starts at the best level. Three misses within fifteen frames lower it by one. After a hold of frames in a row with
    a comfortable margin it is raised by one; a raise that fails soon doubles the hold, so that the level does not
    flicker between two neighbours.
    """

    _WINDOW = 15
    _MISSES_TO_LOWER = 3
    _MARGIN = 0.7  # raise only while frames take less than this share of the deadline
    _FIRST_HOLD = 150
    _LONGEST_HOLD = 4800

    def __init__(self, levels: Sequence[str], deadline_ms: float) -> None:
        if not levels:
            raise ValueError("a level controller needs at least one level")
        self._levels = list(levels)
        self.deadline_ms = deadline_ms
        self._index = len(self._levels) - 1
        self._misses: deque[bool] = deque(maxlen=self._WINDOW)
        self._calm = 0
        self._hold = self._FIRST_HOLD
        self._since_raise: int | None = None

    @property
    def level(self) -> str:
        """The level to use now."""
        return self._levels[self._index]

    def update(self, total_ms: float) -> str:
        """Take in one frame's total time in milliseconds; returns the level for the next frame."""
        self._misses.append(total_ms > self.deadline_ms)
        self._calm = self._calm + 1 if total_ms < self._MARGIN * self.deadline_ms else 0
        if self._since_raise is not None:
            self._since_raise += 1
            if self._since_raise > self._FIRST_HOLD:  # the raise has proved itself
                self._since_raise, self._hold = None, self._FIRST_HOLD
        if sum(self._misses) >= self._MISSES_TO_LOWER and self._index > 0:
            self._lower()
        elif self._calm >= self._hold and self._index < len(self._levels) - 1:
            self._raise()
        return self.level

    def _lower(self) -> None:
        if self._since_raise is not None:
            self._hold = min(2 * self._hold, self._LONGEST_HOLD)
        self._move(-1)
        self._since_raise = None

    def _raise(self) -> None:
        self._move(+1)
        self._since_raise = 0

    def _move(self, step: int) -> None:
        self._index += step
        self._misses.clear()
        self._calm = 0
