# SPDX-License-Identifier: Apache-2.0
"""Times of several detectors in one interleaved run, so that whatever else the machine does touches all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.detect.detector import Detector

SIZE = (640, 480)
MOST_PICTURES = 16
SCORE_THRESHOLD, IOU_THRESHOLD = 0.35, 0.5  # what the node starts with


@dataclass
class Times:
    """Milliseconds of every frame, a list for each round: end to end, and of decoding and suppression alone."""

    whole: list[list[float]] = field(default_factory=list)
    decode: list[list[float]] = field(default_factory=list)


def frames(pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Some of the pictures, RGB, at the size of a camera's frame."""
    places = np.linspace(0, len(pictures) - 1, min(MOST_PICTURES, len(pictures))).astype(int)
    return [np.asarray(cv2.resize(pictures[place], SIZE, interpolation=cv2.INTER_LINEAR), np.uint8) for place in places]


def time_detectors(
    detectors: Mapping[str, Detector],
    pictures: Sequence[NDArray[np.uint8]],
    rounds: int,
    frames_per_turn: int,
    after_round: Callable[[], None] = lambda: None,
) -> dict[str, Times]:
    """Times by name. In every round each detector has a turn, in an order drawn anew: one frame that does not count,
    because the others have emptied the caches, and then `frames_per_turn`, the same ones for all."""
    for detector in detectors.values():
        for _ in range(3):
            detector.warm_up(*pictures[0].shape[:2])
    times = {name: Times() for name in detectors}
    order = list(detectors)
    generator = random.Random(0)
    for number in range(rounds):
        generator.shuffle(order)
        for name in order:
            _take_turn(detectors[name], pictures, number * frames_per_turn, frames_per_turn, times[name])
        after_round()
    return times


def _take_turn(detector: Detector, pictures: Sequence[NDArray[np.uint8]], first: int, count: int, times: Times) -> None:
    whole, decode = [], []
    for place in range(first - 1, first + count):
        picture = pictures[place % len(pictures)]
        began = time.perf_counter()
        outputs = detector.infer(picture)
        inferred = time.perf_counter()
        detector.decode(outputs, SCORE_THRESHOLD, IOU_THRESHOLD)
        ended = time.perf_counter()
        whole.append(1e3 * (ended - began))
        decode.append(1e3 * (ended - inferred))
    times.whole.append(whole[1:])
    times.decode.append(decode[1:])
