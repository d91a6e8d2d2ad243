# SPDX-License-Identifier: Apache-2.0
"""Pictures out of a recording that belong together: camera, stylised, and what was detected in the same frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.bench.recording import (
    COLOR_PICTURES,
    STYLIZED_PICTURES,
    FrameKey,
    RecordingReader,
    decode_jpeg,
)
from muon_ad_core.detect.detector import Detections
from muon_ad_core.detect.draw import draw_detections

MOST_WAITING = 60  # pictures kept while their counterpart has not come yet


@dataclass(frozen=True)
class FramePair:
    """A frame and its stylised picture; RGB, height x width x 3."""

    key: FrameKey
    color: NDArray[np.uint8]
    stylized: NDArray[np.uint8]


class DetectionLog:
    """What was detected when, for drawing."""

    def __init__(self, reader: RecordingReader) -> None:
        self._classes: Sequence[str] = ()
        found: dict[FrameKey, Detections] = {}
        for key, detections, self._classes in reader.detections():
            found[key] = detections
        self._found = sorted(found.items(), key=lambda entry: entry[0])
        self._keys = [key for key, _ in self._found]

    def draw(self, pair: FramePair) -> NDArray[np.uint8]:
        """The camera's picture with the newest detections of this or an earlier frame, as a live viewer shows them."""
        index = bisect_right(self._keys, pair.key) - 1
        return draw_detections(pair.color, self._found[index][1], self._classes) if index >= 0 else pair.color


def frame_pairs(reader: RecordingReader, wanted: frozenset[FrameKey] | None = None) -> Iterator[FramePair]:
    """All (or the `wanted`) frames of which both pictures are recorded, in the order in which they became complete."""
    waiting: dict[FrameKey, dict[str, NDArray[np.uint8]]] = {}
    for topic, key, jpeg in reader.pictures(COLOR_PICTURES, STYLIZED_PICTURES):
        if wanted is not None and key not in wanted:
            continue
        pictures = waiting.setdefault(key, {})
        pictures[topic] = jpeg
        if len(pictures) == 2:
            del waiting[key]
            yield FramePair(key, decode_jpeg(pictures[COLOR_PICTURES]), decode_jpeg(pictures[STYLIZED_PICTURES]))
        elif len(waiting) > MOST_WAITING:
            del waiting[next(iter(waiting))]


def complete_keys(reader: RecordingReader) -> list[FrameKey]:
    """Keys of the frames of which both pictures are recorded, by stamp."""
    seen: dict[str, set[FrameKey]] = {COLOR_PICTURES: set(), STYLIZED_PICTURES: set()}
    for topic, key, _ in reader.pictures(COLOR_PICTURES, STYLIZED_PICTURES):
        seen[topic].add(key)
    return sorted(seen[COLOR_PICTURES] & seen[STYLIZED_PICTURES])
