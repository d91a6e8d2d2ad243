# SPDX-License-Identifier: Apache-2.0
"""Which recorded frame is played when, in the modes of NVIDIA's ros2_benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

TIMELINE, LOOPING, SWEEPING, LIVE = "timeline", "looping", "sweeping", "live"
MODES = {
    TIMELINE: "frames at their recorded instants, again from the first at the end",
    LOOPING: "frames at a fixed rate, again from the first at the end",
    SWEEPING: "frames at a fixed rate, forwards and backwards in turn",
    LIVE: "nothing is played: a running source publishes",
}
FIXED_RATE_MODES = (LOOPING, SWEEPING)


class Turn(NamedTuple):
    """Frame number `frame` of the recording is due `at_s` seconds after the beginning."""

    frame: int
    at_s: float


def fixed_rate(mode: str, frames: int, rate: float) -> Iterator[Turn]:
    """Turns without end at `rate` Hz over `frames` frames, looping or sweeping."""
    period = 2 * frames - 2 if mode == SWEEPING and frames > 1 else frames
    for number in count():
        place = number % period
        yield Turn(place if place < frames else period - place, number / rate)


def timeline(stamps_ns: list[int], rate: float) -> Iterator[Turn]:
    """Turns without end at the recorded distances; `rate` Hz is the pause between two rounds."""
    start_s = 0.0
    while True:
        for frame, stamp_ns in enumerate(stamps_ns):
            yield Turn(frame, start_s + (stamp_ns - stamps_ns[0]) / 1e9)
        start_s += (stamps_ns[-1] - stamps_ns[0]) / 1e9 + 1.0 / rate
