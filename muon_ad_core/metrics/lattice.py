# SPDX-License-Identifier: Apache-2.0
"""How much a picture repeats from cell to cell: the mesh that networks which paint cells print into flat areas."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL, CELLS = 8, 6


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
