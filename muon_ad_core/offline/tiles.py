# SPDX-License-Identifier: Apache-2.0
"""Large pictures in tiles: memory stays bounded, and no seam shows.

Of the picture as a whole the student knows a few statistics, which are those of the whole here, too, and colours are
moved to the style's palette as those of the whole; else a pixel depends on its surroundings only. Tiles that overlap by
more than that have no seam.
"""

from __future__ import annotations

import cv2
import numpy as np

from muon_ad_core.stylize import Piece, Stylizer

MOST_PIXELS = 4_000_000
"""Larger pictures are cut."""
SEEN_PIXELS = 1_000_000
"""Of the whole, in which the colours of all tiles are found."""
TILE = 1024
OVERLAP = 128
"""Pixels on each side; the student sees less far (8 convolutions at 1/8, and some at finer resolutions)."""


def stylize_picture(stylizer: Stylizer, picture: np.ndarray) -> np.ndarray:
    """Stylise RGB uint8 (H, W, 3) of any size, as one piece or in tiles; the result is a new array."""
    height, width = picture.shape[:2]
    if height * width <= MOST_PIXELS:
        return stylizer.run_picture(picture).copy()
    result = np.empty_like(picture)
    colours = stylizer.painted_colours(_seen_whole(picture))
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            rows, columns = _reach(top, height), _reach(left, width)
            painted = stylizer.run_picture(picture[rows, columns], Piece(picture, rows.start, columns.start, colours))
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            result[top:bottom, left:right] = painted[
                top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
            ]
    return result


def _seen_whole(picture: np.ndarray) -> np.ndarray:
    """The whole picture, so small that to paint it for its colours takes little time."""
    smaller = (SEEN_PIXELS / picture.shape[0] / picture.shape[1]) ** 0.5
    return picture if smaller >= 1 else cv2.resize(picture, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)


def _reach(start: int, length: int) -> slice:
    """A tile with its overlap, moved inside so that tiles are of one size wherever the picture is large enough.

    Begins at a multiple of 8, the cell of the network: each tile then has the cells of the whole.
    """
    size = min(TILE + 2 * OVERLAP, length)
    begin = min(max(0, start - OVERLAP), (length - size) // 8 * 8)
    return slice(begin, min(begin + size + 7, length))
