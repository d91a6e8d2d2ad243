# SPDX-License-Identifier: Apache-2.0
"""How much a picture repeats: the mesh that painting networks weave into flat areas, cell by cell or of any period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CELL, CELLS = 8, 6
WINDOW, STEP = 64, 32
"""Pixels along a window whose frequencies are looked at, and between two of them."""
SURROUNDINGS = 9
"""Frequencies along the square, around each one, that a smooth spectrum does not stand out of."""
LONGEST_PERIOD = 16
FAINT = (2 / 127.5) ** 2
"""Variance of what is hardly seen, of colours from -1 to 1."""
NOTHING = 1e-9
"""Part of the power below which a frequency is empty."""


def lattice(picture: NDArray[Any]) -> float:
    """RMS of what the 8x8 cells of windows of 6x6 cells have in common, beside the window's mean; >= 0.

    picture: (H, W, C) uint8, values count from -1 to 1, at least 48 x 48; windows that do not fit are left out.
    Photographs have some .02 to .04, for their edges fall somewhere, too. Raises ValueError for a smaller picture.
    """
    window = CELL * CELLS
    rows, columns = picture.shape[0] // window, picture.shape[1] // window
    if not rows or not columns:
        raise ValueError(f"the lattice measure needs at least {window} x {window} pixels, not {picture.shape[:2]}")
    cut = picture[: rows * window, : columns * window].astype(np.float32) / 127.5 - 1
    cells = cut.reshape(rows, CELLS, CELL, columns, CELLS, CELL, -1).mean(axis=(1, 4))
    common = cells - cells.mean(axis=(1, 3), keepdims=True)
    return float(np.sqrt(np.mean(common**2)))


def mesh(picture: NDArray[Any]) -> float:
    """How far single frequencies stand out of those around them: mean squared excess of their power; >= 0.

    picture: (H, W, C) uint8, at least 64 x 64. Periods up to 16 pixels count, in any direction; windows count alike,
    whatever their contrast, so that what all of them have in common shows. Photographs have some .07 to .16, small
    ones the more.
    Raises ValueError for a smaller picture.
    """
    if min(picture.shape[:2]) < WINDOW:
        raise ValueError(f"the mesh measure needs at least {WINDOW} x {WINDOW} pixels, not {picture.shape[:2]}")
    frequency = np.fft.fftfreq(WINDOW)
    counted = np.hypot(frequency[:, None], frequency) > 1 / LONGEST_PERIOD
    usual = np.mean([_shares(window, counted) for window in _windows(picture)], axis=0)
    around = SURROUNDINGS // 2
    wide = np.pad(usual, around, "wrap")
    surroundings = cv2.blur(wide, (SURROUNDINGS, SURROUNDINGS))[around:-around, around:-around]
    excess = (usual - surroundings) / (surroundings + NOTHING)
    return float(np.mean(excess[counted] ** 2))


def _windows(picture: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """(WINDOW, WINDOW, C), from -1 to 1."""
    for row in range(0, picture.shape[0] - WINDOW + 1, STEP):
        for column in range(0, picture.shape[1] - WINDOW + 1, STEP):
            yield picture[row : row + WINDOW, column : column + WINDOW] / 127.5 - 1


def _shares(window: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Power of each frequency, as part of the power of all that count."""
    hann = np.hanning(WINDOW)
    weights = hann[:, None, None] * hann[:, None]
    spectrum = np.fft.fft2((window - window.mean(axis=(0, 1))) * weights, axes=(0, 1))
    power = np.sum(np.abs(spectrum) ** 2, axis=2) / np.sum(weights**2) / WINDOW**2  # sums to the variance
    return power / (power[counted].sum() + FAINT)
