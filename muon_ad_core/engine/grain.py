# SPDX-License-Identifier: Apache-2.0
"""Faint noise that a picture gets before it is painted, the same in training and at run time.

A convolutional network paints one pattern over and over where a picture is flat: nothing there tells one place from
another, but for its own grid of cells. Grain does, and strokes grow from it, as from the tooth of a canvas. It belongs
to the scene: when the camera moves, it moves along.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import EngineError

FIELD = "grain"
"""Of the manifest; an engine without it is given none."""
USUAL = 1.5
"""Standard deviation in grey levels (of 0..255) with which students are trained."""
MOST = 40.0
PERIOD = 256
"""Pixels after which the grain repeats itself, in rows and columns."""
SIZES = (2.0, 4.0, 8.0)
"""Standard deviations in pixels of the blurs that make its fine, middle and coarse parts, which are equally strong."""
MIDDLE = 128
"""Of what is stored: the value that adds nothing."""


def grain_of(package: EnginePackage) -> float:
    """Standard deviation that a style engine asks for, in grey levels; EngineError when it makes no sense."""
    spread = package.manifest.get(FIELD, 0.0)
    if not isinstance(spread, (int, float)) or not 0 <= spread <= MOST:
        raise EngineError(f"'{FIELD}' of engine {package.name} must be from 0 to {MOST:g}, got {spread!r}")
    return float(spread)


@cache
def grain_tile(spread: float) -> np.ndarray:
    """(PERIOD, PERIOD) uint8 about MIDDLE, always the same, to be read only; opposite borders fit together."""
    random = np.random.default_rng(0)
    total = np.zeros((PERIOD, PERIOD), np.float32)
    for size in SIZES:
        noise = random.standard_normal((PERIOD, PERIOD)).astype(np.float32)
        margin = int(4 * size)
        blurred = cv2.GaussianBlur(np.pad(noise, margin, mode="wrap"), (0, 0), size)
        blurred = blurred[margin:-margin, margin:-margin]
        total += blurred / blurred.std()
    return np.clip(MIDDLE + total * (spread / len(SIZES) ** 0.5), 0, 255).round().astype(np.uint8)


class Grain:
    """Adds grain to pictures of one size; what it needs is made once."""

    def __init__(self, spread: float, height: int, width: int) -> None:
        rows, columns = (np.arange(side + PERIOD) % PERIOD for side in (height, width))
        tile = grain_tile(spread)[np.ix_(rows, columns)]
        self._tile = np.ascontiguousarray(np.repeat(tile[:, :, None], 3, axis=2))
        self._size = height, width

    def add(self, picture: np.ndarray, result: np.ndarray, row: int = 0, column: int = 0) -> None:
        """Write picture (H, W, 3) RGB uint8 with the grain of its place: where in the scene its first pixel lies."""
        (height, width), row, column = self._size, row % PERIOD, column % PERIOD
        grain = self._tile[row : row + height, column : column + width]
        cv2.addWeighted(picture, 1, grain, 1, -MIDDLE, dst=result)
