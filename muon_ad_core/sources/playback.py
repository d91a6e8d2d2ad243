# SPDX-License-Identifier: Apache-2.0
"""When to publish recorded messages: rate, pause, step and loops, as arithmetic on given times."""

from __future__ import annotations

import math

from muon_ad_core.errors import ParameterError

ROUND_GAP_NS = 33_000_000
"""Play time from the last message before a new round, or a jump back, to the first one after it."""
JUMP_NS = 1_000_000_000
"""A stamp this far before the latest one is a jump back of the recorded clock, not a message out of order."""


class PlaybackClock:
    """Play time as a function of wall time, and the play time of each recorded message.

    Play time is the recording's own time, except that it never runs back: a new round of a loop, and what
    follows a jump back of the recorded clock, is moved behind what was played before. /clock shows it.
    All times are integer nanoseconds; wall time is any monotonic clock.
    """

    def __init__(self, start_ns: int, wall_ns: int, rate: float = 1.0, paused: bool = False) -> None:
        """Play time is ``start_ns`` at ``wall_ns``. Raises ParameterError unless ``rate`` is > 0."""
        self._play_ns, self._wall_ns = start_ns, wall_ns
        self._rate = _positive(rate)
        self._paused = paused
        self._latest_ns = start_ns
        self._shift_ns = 0
        self._round = 0
        self.jumps = 0
        """How often the recorded clock jumped back within a round."""

    @property
    def rate(self) -> float:
        """Play seconds per wall second."""
        return self._rate

    @property
    def paused(self) -> bool:
        """Whether play time stands still."""
        return self._paused

    def play_time(self, wall_ns: int) -> int:
        """Play time at a wall time not before the latest change of rate or pause."""
        if self._paused:
            return self._play_ns
        return self._play_ns + round((wall_ns - self._wall_ns) * self._rate)

    def admit(self, stamp_ns: int, round_number: int = 0) -> int:
        """Play time of the next message, recorded at ``stamp_ns`` and read in the given round of a loop."""
        jumped_back = round_number == self._round and stamp_ns + self._shift_ns < self._latest_ns - JUMP_NS
        if jumped_back or round_number != self._round:
            self._shift_ns = self._latest_ns + ROUND_GAP_NS - stamp_ns
            self._round = round_number
            self.jumps += jumped_back
        play_ns = stamp_ns + self._shift_ns
        self._latest_ns = max(self._latest_ns, play_ns)
        return play_ns

    def due(self, play_ns: int) -> int | None:
        """Wall time at which play time reaches ``play_ns``, past if it has; None if a pause is in the way."""
        if self._paused:
            return self._wall_ns if play_ns <= self._play_ns else None
        return self._wall_ns + math.ceil((play_ns - self._play_ns) / self._rate)

    def set_rate(self, rate: float, wall_ns: int) -> None:
        """Go on at another rate from ``wall_ns``; raises ParameterError unless it is > 0."""
        rate = _positive(rate)
        self._anchor(wall_ns)
        self._rate = rate

    def pause(self, wall_ns: int) -> None:
        """Stop play time at ``wall_ns``."""
        self._anchor(wall_ns)
        self._paused = True

    def resume(self, wall_ns: int) -> None:
        """Let play time go on from ``wall_ns``."""
        self._anchor(wall_ns)
        self._paused = False

    def step(self, play_ns: int) -> None:
        """While paused, move play time on to the message at ``play_ns``, which becomes due."""
        if self._paused:
            self._play_ns = max(self._play_ns, play_ns)

    def _anchor(self, wall_ns: int) -> None:
        self._play_ns, self._wall_ns = self.play_time(wall_ns), wall_ns


def _positive(rate: float) -> float:
    if not 0.0 < rate < math.inf:
        raise ParameterError(f"the playback rate must be positive, but is {rate:g}")
    return rate
