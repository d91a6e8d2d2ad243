# SPDX-License-Identifier: Apache-2.0
"""From a picture to the array that a detector's graph takes, and from its boxes back to the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from muon_ad_core.detect.settings import check_choice, check_numbers
from muon_ad_core.engine.frames import pack

LETTERBOX, STRETCH = "letterbox", "stretch"
CORNER, CENTRE = "corner", "centre"
PACKED, PLANES, FOCUS = "packed", "planes", "focus"
# Pixels of a 2x2 cell, (row, column), in the order in which YOLOX's focus layer stacks them.
FOCUS_ORDER = ((0, 0), (1, 0), (0, 1), (1, 1))


@dataclass(frozen=True)
class Preprocessing:
    """What a network wants to see: the manifest's entry "preprocessing". The defaults are this project's detector.

    Attributes:
        input: name of the graph's input.
        fit: "letterbox" keeps the picture's aspect and pads, "stretch" does not.
        cut: whether a letterbox is cut to what the picture and the coarsest stride need; else it is the whole input.
        align: where a letterbox holds the picture, "corner" (left top) or "centre".
        padding: grey level of what is padded, 0..255.
        layout: "packed": uint8 (1, H/block, W/block, 3 * block * block) as `frames.pack` orders it, block being the
            level's input_block; "planes": float32 (1, 3, H, W); "focus": float32 (1, 12, H/2, W/2), as YOLOX's focus
            layer makes it.
        channels: "RGB" or "BGR".
        mean, deviation: of each channel in the network's order; the input is (pixel - mean) / deviation. Not packed.
    """

    input: str = "pixels"
    fit: str = LETTERBOX
    cut: bool = True
    align: str = CORNER
    padding: int = 0
    layout: str = PACKED
    channels: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        check_choice("fit", self.fit, (LETTERBOX, STRETCH))
        check_choice("align", self.align, (CORNER, CENTRE))
        check_choice("layout", self.layout, (PACKED, PLANES, FOCUS))
        check_choice("channels", self.channels, ("RGB", "BGR"))
        check_numbers("mean", self.mean, 3)
        check_numbers("deviation", self.deviation, 3)
        if 0 in self.deviation:
            raise ValueError("deviation must not be 0")
        if not isinstance(self.padding, int) or not 0 <= self.padding <= 255:
            raise ValueError(f"padding must be 0 to 255, not {self.padding!r}")
        if not isinstance(self.cut, bool):
            raise ValueError("cut must be true or false")
        if self.layout == PACKED and (self.channels, self.mean, self.deviation) != ("RGB", (0, 0, 0), (1, 1, 1)):
            raise ValueError("a packed input is RGB as it comes: channels, mean and deviation belong to other layouts")


class NetworkInput:
    """The buffers of one picture size, allocated once."""

    def __init__(
        self, picture: tuple[int, ...], size: tuple[int, ...], multiple: int, block: int, preprocessing: Preprocessing
    ) -> None:
        """picture: (height, width, ...) of the pictures; size: (rows, columns) of the network's whole input; multiple:
        its coarsest stride; block: of a packed layout."""
        self._preprocessing = preprocessing
        self._block = block
        height, width = picture[:2]
        if preprocessing.fit == STRETCH:
            scaled = rows, columns = size[0], size[1]
        else:
            scale = min(size[0] / height, size[1] / width)
            scaled = max(1, round(height * scale)), max(1, round(width * scale))
            rows, columns = (-(-side // multiple) * multiple for side in (scaled if preprocessing.cut else size))
        self.rows, self.columns = rows, columns
        centred = preprocessing.align == CENTRE
        top, left = ((rows - scaled[0]) // 2, (columns - scaled[1]) // 2) if centred else (0, 0)
        self._canvas = np.full((rows, columns, 3), preprocessing.padding, np.uint8)
        self._frame = self._canvas[top : top + scaled[0], left : left + scaled[1]]
        self._interpolation = cv2.INTER_AREA if height > scaled[0] else cv2.INTER_LINEAR
        self._corner = np.array([left, top, left, top], np.float32)
        self._unit = np.array([width / scaled[1], height / scaled[0]] * 2, np.float32)
        self._bounds = np.array([width, height] * 2, np.float32)
        if preprocessing.layout == PACKED:
            self._array = np.empty((1, rows // block, columns // block, 3 * block * block), np.uint8)
        else:
            self._array = np.empty((1, 3, rows, columns), np.float32)
            levels = np.arange(256, dtype=np.float64)
            self._tables = [
                ((levels - mean) / deviation).astype(np.float32)
                for mean, deviation in zip(preprocessing.mean, preprocessing.deviation)
            ]
        if preprocessing.layout == FOCUS:
            self._focus = np.empty((1, 12, rows // 2, columns // 2), np.float32)

    def fill(self, rgb: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's input for a picture (H, W, 3) uint8 of the size given before; valid until the next call."""
        cv2.resize(rgb, self._frame.shape[1::-1], dst=self._frame, interpolation=self._interpolation)
        name, layout = self._preprocessing.input, self._preprocessing.layout
        if layout == PACKED:
            pack(self._canvas, self._array, self._block)
            return {name: self._array}
        planes = cv2.split(self._canvas)
        ordered = planes if self._preprocessing.channels == "RGB" else planes[::-1]
        for plane, table, target in zip(ordered, self._tables, self._array[0]):
            cv2.LUT(plane, table, dst=target)
        if layout == PLANES:
            return {name: self._array}
        for part, (row, column) in zip(self._focus.reshape(4, 3, *self._focus.shape[2:]), FOCUS_ORDER):
            np.copyto(part, self._array[0, :, row::2, column::2])
        return {name: self._focus}

    def to_picture(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) of the input in pixels of the picture, clipped to it, and which (N,) are not wholly outside."""
        boxes = (boxes - self._corner) * self._unit
        np.clip(boxes, 0, self._bounds, out=boxes)
        return boxes, np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
