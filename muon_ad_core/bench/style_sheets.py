# SPDX-License-Identifier: Apache-2.0
"""Sheets of painted photographs: every style by every contender, and pieces at full size to look at closely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from muon_ad_core.bench.benchmark import Picture
from muon_ad_core.bench.style_contenders import Pixels

TILE, COLUMNS = (256, 192), 4
PIECE = 224
"""Side in pixels of what is shown at full size."""
LEAST_LIGHT = 30
"""Mean of a piece, 0..255, below which darkness hides everything."""
QUALITY = 88
CAPTION_ROWS = 22


def grid(pictures: Sequence[Pixels], styles: Sequence[str]) -> Picture:
    """One photograph and what became of it in each style, a few in a row."""
    small: list[Any] = [cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA) for picture in pictures]
    small += [np.full_like(small[0], 255)] * (-len(small) % COLUMNS)
    rows = [np.hstack(small[first : first + COLUMNS]) for first in range(0, len(small), COLUMNS)]
    return Picture(f"A photograph and what became of it, row by row: {', '.join(styles)}", _jpeg(np.vstack(rows)))


def by_contender(
    rows: Sequence[tuple[str, Pixels, Sequence[Pixels]]], names: Sequence[str], photograph: str
) -> Picture:
    """A row each style (name, its picture, what the contenders painted); `names`: of the contenders."""
    lines = [_headings(["style", *names], TILE[0])]
    for style, picture, painted in rows:
        cells = [_fitted(picture), *(cv2.resize(each, TILE, interpolation=cv2.INTER_AREA) for each in painted)]
        cv2.putText(cells[0], style, (4, TILE[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 3, cv2.LINE_AA)
        cv2.putText(cells[0], style, (4, TILE[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        lines.append(np.hstack(cells))
    return Picture(f"{photograph} in every style: {', '.join(names)}", _jpeg(np.vstack(lines)))


def at_full_size(rows: Sequence[Sequence[Pixels]], names: Sequence[str], style: str) -> Picture:
    """The same piece of each photograph (rows) as the contenders painted it, pixel by pixel: the flattest one of the
    photograph, where a mesh or a frame shows first. The first picture of a row is the photograph."""
    side = min(PIECE, *rows[0][0].shape[:2])
    lines = [_headings(["photograph", *names], side)]
    for pictures in rows:
        row, column = _flattest(pictures[0], side)
        lines.append(np.hstack([each[row : row + side, column : column + side] for each in pictures]))
    return Picture(f"Pieces of photographs in {style} at full size: {', '.join(names)}", _jpeg(np.vstack(lines)))


def _flattest(photograph: Pixels, side: int) -> tuple[int, int]:
    """Row and column of the piece with the least detail that still has some light."""
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail, light = (_means(values, side) for values in (np.abs(cv2.Laplacian(grey, cv2.CV_32F)), grey))
    row, column = np.unravel_index(int(np.argmin(np.where(light < LEAST_LIGHT, detail + 255, detail))), detail.shape)
    return int(row), int(column)


def _means(values: Any, side: int) -> Any:
    """Mean of every square piece that fits, by its first row and column."""
    sums = cv2.integral(values.astype(np.float32), sdepth=cv2.CV_64F)
    return (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2


def _fitted(picture: Pixels) -> Any:
    """A style's picture of any shape inside a tile."""
    factor = min(TILE[0] / picture.shape[1], TILE[1] / picture.shape[0])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    tile = np.full((TILE[1], TILE[0], 3), 255, np.uint8)
    tile[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return tile


def _headings(names: Sequence[str], width: int) -> Any:
    line = np.full((CAPTION_ROWS, width * len(names), 3), 255, np.uint8)
    for index, name in enumerate(names):
        place = (index * width + 4, CAPTION_ROWS - 7)
        cv2.putText(line, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def _jpeg(picture: Any) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
