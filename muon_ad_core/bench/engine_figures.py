# SPDX-License-Identifier: Apache-2.0
"""What is timed in the benchmark of the style engine, in turns, and what follows from the times."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np

from muon_ad_core.bench.style_peers import JOHNSON, ORT, Painter

VGA, HD, FULL_HD = (640, 480), (1280, 720), (1920, 1080)
SMOOTHED = "Muon-AD smoothed"
"""Before the level's name: frames of a moving camera, smoothed in time."""
LONG_FRAME = 0.1
"""Seconds; a contender that needs more for a frame gets one frame a turn."""


@dataclass
class Contender:
    """Something that paints frames. level: of ours, empty for a peer; times: milliseconds, one list a round."""

    name: str
    paint: Painter
    level: str = ""
    backend: str = ""
    threads: int = 0
    times: list[list[float]] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Median of all frames."""
        return float(median(value for turn in self.times for value in turn))


def panning(paint: Painter) -> Painter:
    """The same before a camera that moves by a pixel and back: one at rest is smoothed in less time."""
    moved: dict[int, Iterator[np.ndarray]] = {}

    def paint_next(frame: np.ndarray) -> Any:
        if id(frame) not in moved:
            moved[id(frame)] = cycle((np.roll(frame, (1, 1), (0, 1)), frame))
        return paint(next(moved[id(frame)]))

    return paint_next


def time_in_turns(
    contenders: Sequence[Contender], frame: np.ndarray, rounds: int, frames: int, after_round: Callable[[], None]
) -> None:
    """Fill `times`. In every round each has a turn, in an order drawn anew: one frame that does not count, because the
    others have emptied the caches, and then `frames`; slow ones, to whom that makes no difference, one frame alone."""
    slow = {contender.name: _seconds_of_second_frame(contender, frame) > LONG_FRAME for contender in contenders}
    order, generator = list(contenders), random.Random(0)
    for _ in range(rounds):
        generator.shuffle(order)
        for contender in order:
            turn = []
            warm_ups, counted = (0, 1) if slow[contender.name] else (1, frames)
            for _ in range(warm_ups + counted):
                began = time.perf_counter()
                contender.paint(frame)
                turn.append(1e3 * (time.perf_counter() - began))
            contender.times.append(turn[warm_ups:])
        after_round()


def make_rows(contenders: Mapping[tuple[int, int], Sequence[Contender]]) -> list[dict[str, Any]]:
    """One row a contender and size, with how many times faster our fast level (first backend, most threads) is."""
    rows = []
    for size, entries in contenders.items():
        ours = best_of_ours(entries, "fast")
        for entry in entries:
            row = {"size": f"{size[0]}x{size[1]}", "name": entry.name, "median_ms": entry.median_ms}
            faster = entry.median_ms / ours.median_ms if ours else None
            rows.append({**row, "fps": 1e3 / entry.median_ms, "times_our_fast": faster})
    return rows


def make_summary(contenders: Mapping[tuple[int, int], Sequence[Contender]]) -> dict[str, float | None]:
    """The flat figures; None for what was not measured."""
    vga = contenders.get(VGA, ())
    johnson = {entry.name: entry.median_ms for entry in vga if entry.name.startswith(JOHNSON)}
    ort, best = johnson.get(f"{JOHNSON}, {ORT}"), min(johnson.values(), default=None)
    summary: dict[str, float | None] = {}
    for prefix, level in (("", "fast"), ("fine_", "fine")):
        ours = best_of_ours(vga, level)
        time_ms = ours.median_ms if ours else None
        summary[f"{prefix}ms_640x480"] = time_ms
        summary[f"{prefix}speedup_johnson_ort"] = ort / time_ms if ort and time_ms else None
        summary[f"{prefix}speedup_johnson_best"] = best / time_ms if best and time_ms else None
        smoothed = next((entry.median_ms for entry in vga if entry.name == f"{SMOOTHED} {level}"), None)
        summary[f"{prefix}smoothing_ms"] = smoothed - time_ms if smoothed and time_ms else None
        for name, size in (("fps_720p", HD), ("fps_1080p", FULL_HD)):
            ours = best_of_ours(contenders.get(size, ()), level)
            summary[f"{prefix}{name}"] = 1e3 / ours.median_ms if ours else None
    return summary


def best_of_ours(contenders: Sequence[Contender], level: str) -> Contender | None:
    """Our level as a node runs it: the first backend, with the most threads."""
    ours = [entry for entry in contenders if entry.level == level]
    first = [entry for entry in ours if entry.backend == ours[0].backend]
    return max(first, key=lambda entry: entry.threads, default=None)


def _seconds_of_second_frame(contender: Contender, frame: np.ndarray) -> float:
    """The first one compiles and allocates."""
    contender.paint(frame)
    began = time.perf_counter()
    contender.paint(frame)
    return time.perf_counter() - began
