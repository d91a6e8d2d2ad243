# SPDX-License-Identifier: Apache-2.0
"""Frames on their way into a graph and out of it: the check, and pixel shuffles as strided copies."""

from __future__ import annotations

import numpy as np

from muon_ad_core.errors import ParameterError

MAX_PIXELS = 64_000_000


def check_frame(frame: np.ndarray) -> None:
    """Raise ParameterError unless `frame` is RGB uint8 (H, W, 3) with 1 to MAX_PIXELS pixels."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not 0 < frame.size <= 3 * MAX_PIXELS:
        raise ParameterError(
            f"a frame must be RGB uint8 (height, width, 3) of at most {MAX_PIXELS:,} pixels, "
            f"got {frame.shape} {frame.dtype}"
        )


def pack(picture: np.ndarray, packed: np.ndarray, block: int) -> None:
    """Copy (H, W, 3) into (1, H/block, W/block, block*block*3), channels ordered (row, column, colour)."""
    blocks = _runs(picture, packed.shape[1:3], block)
    np.copyto(_cells(packed, block), blocks.transpose(0, 2, 1))


def unpack(packed: np.ndarray, picture: np.ndarray, block: int) -> None:
    """Inverse of `pack`."""
    blocks = _runs(picture, packed.shape[1:3], block)
    np.copyto(blocks, _cells(packed, block).transpose(0, 2, 1))


def _runs(picture: np.ndarray, grid: tuple[int, ...], block: int) -> np.ndarray:
    """View of a contiguous picture as (rows, block, columns) runs of pixels that stay together: one copy each."""
    run = np.dtype((np.void, 3 * block))
    return picture.reshape(len(picture), -1).view(run).reshape(grid[0], block, grid[1])


def _cells(packed: np.ndarray, block: int) -> np.ndarray:
    """View of a packed picture as (rows, columns, block) of the same runs."""
    return packed.view(np.dtype((np.void, 3 * block)))[0]
