# SPDX-License-Identifier: Apache-2.0
"""All memory that frames of one size need on their way through a style engine, allocated once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from muon_ad_core.engine.frames import BELOW, BORDER, MULTIPLE, TO_RGB, fill_padded, padded_size
from muon_ad_core.engine.grain import Grain
from muon_ad_core.smoothing import SceneSmoother


class FrameBuffers:
    """Of a batch of frames (height, width, 3), which are painted `shrink` times smaller.

    block: pixels along a side of the blocks that the network takes; grain: in grey levels, 0 for none.

    frames: as they came, RGB; seen: what is painted of them, views into padded; padded: the same with their borders;
    packed: the network's input; painted: one result, unpacked, with its border; outputs: what is returned; smoother: of
    a single frame's sequence.
    """

    def __init__(self, count: int, height: int, width: int, shrink: int, block: int, grain: float) -> None:
        self.shrink = shrink
        self._size = small = max(1, height // shrink), max(1, width // shrink)
        rows, columns = padded_size(*small)
        self.padded = np.empty((count, rows, columns, 3), np.uint8)
        self.packed = np.empty((count, rows // block, columns // block, 3 * block * block), np.uint8)
        self.painted = np.empty((rows, columns, 3), np.uint8)
        self.outputs = [np.empty((height, width, 3), np.uint8) for _ in range(count)]
        self.smoother = SceneSmoother(*small)
        self.frames: list[np.ndarray] = []
        self.seen: list[np.ndarray] = []
        self._grain = Grain(grain, rows, columns) if grain else None
        self._grained = np.empty((rows, columns, 3), np.uint8)
        self._smaller = np.empty((*small, 3), np.uint8)
        self._converted = np.empty((count, 0, 0, 3), np.uint8)

    def take_in(self, frames: Sequence[np.ndarray], encoding: str) -> None:
        """Frames of any strides and of one encoding."""
        if self.shrink == 1:
            self.seen = self.frames = [self._pad(*pair, encoding) for pair in zip(frames, self.padded)]
        else:
            self.frames = list(self._as_rgb(frames, encoding))
            self.seen = [self._pad_smaller(*pair) for pair in zip(self.frames, self.padded)]

    @property
    def mirrored(self) -> bool:
        """Whether what is painted is large enough to be continued as in a mirror."""
        return min(self._size) > BORDER + BELOW + MULTIPLE

    def grained(self, index: int, row: int, column: int) -> np.ndarray:
        """A padded frame with the grain of its place in the scene, in painted pixels; valid until the next."""
        if self._grain is None:
            return self.padded[index]
        self._grain.add(self.padded[index], self._grained, row, column)
        return self._grained

    def painted_inside(self) -> np.ndarray:
        """The result without its border."""
        height, width = self._size
        return self.painted[BORDER : BORDER + height, BORDER : BORDER + width]

    def _as_rgb(self, frames: Sequence[np.ndarray], encoding: str) -> Iterator[np.ndarray]:
        conversion = TO_RGB[encoding][1]
        if conversion is None:
            # A result may be stylised again: its detail is read while the next one is written.
            for frame in frames:
                result = any(np.may_share_memory(frame, output) for output in self.outputs)
                yield frame.copy() if result else frame
            return
        if not self._converted.size:
            self._converted = np.empty((len(frames), *frames[0].shape[:2], 3), np.uint8)
        for frame, converted in zip(frames, self._converted):
            cv2.cvtColor(frame, conversion, dst=converted)
            yield converted

    def _pad_smaller(self, frame: np.ndarray, padded: np.ndarray) -> np.ndarray:
        cv2.resize(frame, self._size[::-1], dst=self._smaller, interpolation=cv2.INTER_AREA)
        return self._pad(self._smaller, padded, "rgb8")

    def _pad(self, frame: np.ndarray, padded: np.ndarray, encoding: str) -> np.ndarray:
        return fill_padded(frame, encoding, padded, BORDER, self.mirrored)
