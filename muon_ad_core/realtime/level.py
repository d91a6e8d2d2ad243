# SPDX-License-Identifier: Apache-2.0
"""A ladder climbed by deadline and median: a step down when frames come late or are slow, up again with hysteresis."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Step = TypeVar("Step")


class LevelController(Generic[Step]):
    """Chooses among `steps` (cheapest first) from the total time of each frame against its deadline.

    Starts at the best step. Three frames in danger (late, nearly late, or lost) within fifteen lower it by one, and so
    does a median of thirty frames above `median_share` of the deadline, but not below step number `median_floor`. After
    a hold of frames in a row with a comfortable margin (and, from `median_floor` on, within that share) it is raised by
    one: soon, so that what disturbed a start does not last; but a raise that fails doubles the hold, so that it does
    not flicker between two neighbours.
    """

    _WINDOW = 15
    _DANGERS_TO_LOWER = 3
    _MEDIAN_WINDOW = 30
    _DANGER = 0.85  # a frame that takes more than this share of its deadline is in danger
    _MARGIN = 0.7  # raise only while frames take less than this share of the deadline
    _FIRST_HOLD = 60
    _LONGEST_HOLD = 4800
    _PROOF = 300  # frames after which a raise has not failed

    def __init__(
        self, steps: Sequence[Step], deadline_ms: float, median_share: float = 1.0, median_floor: int = 0
    ) -> None:
        if not steps:
            raise ValueError("a level controller needs at least one level")
        self._steps = list(steps)
        self.deadline_ms, self.median_share = deadline_ms, median_share
        self._median_floor = median_floor
        self._index = len(self._steps) - 1
        self._dangers: deque[bool] = deque(maxlen=self._WINDOW)
        self._slow: deque[bool] = deque(maxlen=self._MEDIAN_WINDOW)
        self._calm = 0
        self._hold = self._FIRST_HOLD
        self._since_raise: int | None = None

    @property
    def level(self) -> Step:
        """The step to use now."""
        return self._steps[self._index]

    @property
    def below_best(self) -> int:
        """How many steps have been given up."""
        return len(self._steps) - 1 - self._index

    def update(self, total_ms: float, lost: int = 0) -> Step:
        """Take in one frame's total time in milliseconds and how many frames were lost just before it.

        Returns the step for the next frame.
        """
        self._dangers.extend([True] * min(lost, self._WINDOW))
        slow = total_ms > self.median_share * self.deadline_ms
        self._dangers.append(total_ms > self._DANGER * self.deadline_ms)
        self._slow.append(slow)
        too_slow_to_raise = slow and self._index >= self._median_floor
        calm = total_ms < self._MARGIN * self.deadline_ms and not too_slow_to_raise and not lost
        self._calm = self._calm + 1 if calm else 0
        if self._since_raise is not None:
            self._since_raise += 1
            if self._since_raise > self._PROOF:
                self._since_raise, self._hold = None, self._FIRST_HOLD
        in_danger = sum(self._dangers) >= self._DANGERS_TO_LOWER and self._index > 0
        too_slow = sum(self._slow) > self._MEDIAN_WINDOW // 2 and self._index > self._median_floor
        if in_danger or too_slow:
            self._lower()
        elif self._calm >= self._hold and self._index < len(self._steps) - 1:
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
        self._dangers.clear()
        self._slow.clear()
        self._calm = 0
