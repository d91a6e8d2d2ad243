# SPDX-License-Identifier: Apache-2.0
"""All memory that frames of one size need on their way through a style engine, allocated once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from muon_ad_core.engine.finishing import Finisher
from muon_ad_core.engine.frames import MULTIPLE, TO_RGB, fill_beyond, pack, unpack, whole_cells
from muon_ad_core.engine.grain import Grain
from muon_ad_core.smoothing import SceneSmoother

FEW_PIXELS = 1.5
"""Pixels along a side that become one, below which the four around a place tell enough of them; means of areas take
five times as long, but for whole numbers of pixels."""


class FrameBuffers:
    """Of a batch of frames (height, width, 3), which are painted at the size `painted` (height, width).

    block: pixels along a side of the blocks that the network takes; grain: in grey levels, 0 for none.

    size: at which they are painted; frames: as they came, RGB; seen: what is painted of them; packed: the network's
    input; outputs: what is returned; smoother: of a single frame's sequence; finisher: of all of them, one after the
    other.
    """

    def __init__(self, count: int, height: int, width: int, painted: tuple[int, int], block: int, grain: float) -> None:
        self._block, self.size = block, painted
        rows, columns = whole_cells(*painted)
        self.packed = np.zeros((count, rows // block, columns // block, 3 * block * block), np.uint8)
        self.outputs = [np.empty((height, width, 3), np.uint8) for _ in range(count)]
        self.smoother, self.finisher = SceneSmoother(*painted), Finisher()
        self.frames: list[np.ndarray] = []
        self.seen: list[np.ndarray] = []
        self._grain = Grain(grain, *painted) if grain else None
        self._whole, self._painted = np.empty((2, rows, columns, 3), np.uint8)
        self._smaller = np.empty((count, *painted, 3), np.uint8)
        self._converted = np.empty((count, 0, 0, 3), np.uint8)

    def take_in(self, frames: Sequence[np.ndarray], encoding: str) -> None:
        """Frames of any strides and of one encoding."""
        self.frames = list(self._as_rgb(frames, encoding))
        self.seen = self.frames
        if self.size != self.frames[0].shape[:2]:
            factor = self.frames[0].shape[0] / self.size[0]
            kind = cv2.INTER_LINEAR if factor < FEW_PIXELS else cv2.INTER_AREA
            self.seen = [
                cv2.resize(frame, self.size[::-1], dst=smaller, interpolation=kind)
                for frame, smaller in zip(self.frames, self._smaller)
            ]

    def pack(self, index: int, row: int, column: int) -> None:
        """Write a frame into `packed`, with the grain of its place in the scene, in painted pixels."""
        height, width = self.size
        inside = self._whole[:height, :width]
        if self._grain is None:
            np.copyto(inside, self.seen[index])
        else:
            self._grain.add(self.seen[index], inside, row, column)
        fill_beyond(self._whole, height, width)
        pack(self._whole, self.packed[index : index + 1], self._block)

    def unpack(self, painted: np.ndarray, block: int) -> np.ndarray:
        """What was painted of one frame in blocks, (1, rows, columns, channels), as a picture; valid until the next."""
        unpack(painted, self._painted, block)
        return self._painted[: self.size[0], : self.size[1]]

    def scene(self, index: int) -> np.ndarray:
        """What tells of a frame as a whole; of a tiny one, with what was filled in around it."""
        if min(self.size) >= MULTIPLE:
            return self.seen[index]
        scene = np.zeros_like(self._whole)
        scene[: self.size[0], : self.size[1]] = self.seen[index]
        fill_beyond(scene, *self.size)
        return scene

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
