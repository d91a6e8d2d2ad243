# SPDX-License-Identifier: Apache-2.0
"""Admission: work runs only in the gaps between the frames of a worker that goes before it.

Where priorities do not pre-empt (a shared accelerator, processors without real-time permission) a piece of work that
has begun delays the next frame of the other worker. So it begins only right after such a frame, and only when its
predicted time fits before the next one.
"""

from __future__ import annotations

from collections import deque
from statistics import median

PERIODS_REMEMBERED = 9
RUNS_REMEMBERED = 20
SILENCE_PERIODS = 4
LEAST_SILENCE = 0.5  # seconds
MARGIN = 0.001  # seconds between the predicted end and the next frame


class SlotAdmission:
    """Decides when work may begin; all times are monotonic seconds.

    `least_rate` (Hz) is what the work gets even where it never fits: it is then begun at the start of a slot, or
    anywhere if there is not even a slot. When frames stop coming there is nobody to give way to.
    """

    def __init__(self, least_rate: float) -> None:
        self.least_rate = least_rate
        self._intervals: deque[float] = deque(maxlen=PERIODS_REMEMBERED)
        self._runs: deque[float] = deque(maxlen=RUNS_REMEMBERED)
        self._frame_came: float | None = None
        self._frame_finished = 0.0
        self._last_begin: float | None = None

    def frame_finished(self, came: float, finished: float) -> None:
        """A frame that came to the other worker at `came` was finished at `finished`."""
        if self._frame_came is not None and came > self._frame_came:
            self._intervals.append(came - self._frame_came)
        self._frame_came, self._frame_finished = came, finished

    def ran(self, began: float, seconds: float) -> None:
        """A piece of work began at `began` and took `seconds`."""
        self._last_begin = began
        self._runs.append(seconds)

    @property
    def period(self) -> float:
        """Expected seconds between two frames; 0 while unknown."""
        return median(self._intervals) if self._intervals else 0.0

    @property
    def predicted(self) -> float:
        """Seconds the next piece of work will take at most: the second longest lately, so that one outlier does not
        shut it out."""
        longest = sorted(self._runs)[-2:]
        return longest[0] if longest else 0.0

    def may_begin(self, now: float) -> bool:
        """Whether a piece of work may begin at `now`."""
        if self._silent(now):
            return True
        waited = float("inf") if self._last_begin is None else now - self._last_begin
        in_slot = self._frame_finished <= now < self._next_frame()
        if in_slot and now + self.predicted + MARGIN <= self._next_frame():
            return True
        patience = 1.0 / self.least_rate
        if in_slot:
            # A run that does not fit does least harm at the very beginning of the slot.
            fresh = now - self._frame_finished < 0.25 * (self._next_frame() - self._frame_finished)
            return fresh and waited >= patience
        return waited >= 2.0 * patience

    def _next_frame(self) -> float:
        assert self._frame_came is not None
        return self._frame_came + self.period

    def _silent(self, now: float) -> bool:
        if self._frame_came is None or not self._intervals:
            return True
        return now - self._frame_finished > max(LEAST_SILENCE, SILENCE_PERIODS * self.period)
