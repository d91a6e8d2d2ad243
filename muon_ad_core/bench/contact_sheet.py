# SPDX-License-Identifier: Apache-2.0
"""A sheet of moments of a run: the camera's picture, the stylised one, and the detected objects, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

HEADINGS = ("camera", "stylised", "detected objects")
ROW_INCHES, CAPTION_INCHES, HEAD_INCHES, GAP_INCHES = 2.7, 0.34, 0.75, 0.06
DOTS_PER_INCH = 110


@dataclass(frozen=True)
class SheetRow:
    """One moment: three RGB pictures of equal shape, and what to write above them."""

    caption: str
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def draw_sheet(rows: Sequence[SheetRow], title: str) -> NDArray[np.uint8]:
    """The sheet as an RGB picture: one row of three pictures for each moment."""
    height, width = rows[0].pictures[0].shape[:2]
    cell = ROW_INCHES * width / height
    total_width = 3 * cell + 4 * GAP_INCHES
    total_height = HEAD_INCHES + len(rows) * (ROW_INCHES + CAPTION_INCHES) + GAP_INCHES
    figure = Figure(figsize=(total_width, total_height), dpi=DOTS_PER_INCH, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(GAP_INCHES / total_width, 1 - 0.12 / total_height, title, va="top", fontsize=13, weight="bold")
    for column, heading in enumerate(HEADINGS):
        middle = (GAP_INCHES + column * (cell + GAP_INCHES) + cell / 2) / total_width
        figure.text(middle, 1 - 0.5 / total_height, heading, va="top", ha="center", fontsize=11, color="#444444")
    for number, row in enumerate(rows):
        top = HEAD_INCHES + number * (ROW_INCHES + CAPTION_INCHES)
        figure.text(GAP_INCHES / total_width, 1 - (top + 0.08) / total_height, row.caption, va="top", fontsize=10.5)
        for column, picture in enumerate(row.pictures):
            left = GAP_INCHES + column * (cell + GAP_INCHES)
            bottom = total_height - top - CAPTION_INCHES - ROW_INCHES
            box = (left / total_width, bottom / total_height, cell / total_width, ROW_INCHES / total_height)
            axes = figure.add_axes(box)
            axes.imshow(picture, aspect="auto", interpolation="hanning")
            axes.set_axis_off()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
