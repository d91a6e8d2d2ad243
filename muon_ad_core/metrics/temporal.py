# SPDX-License-Identifier: Apache-2.0
"""Flicker: how much a sequence changes beyond what the motion in it explains (Lai et al., 2018).

Flow is as in `sources.base.Frame`: (H, W, 2) float32, pixels (x, y) by which the scene point at a pixel has moved since
the previous frame, where it was at ``pixel - flow``.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]
Mask = NDArray[np.bool_]


def warp(previous: NDArray[Any], flow: Flow) -> tuple[NDArray[Any], Mask]:
    """The previous picture (H, W, C) moved along the flow, and where it can be known (H, W)."""
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = columns - flow[..., 0], rows - flow[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return cv2.remap(previous, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), inside


def warping_error(picture: NDArray[Any], previous: NDArray[Any], flow: Flow, valid: Mask, top: float = 255.0) -> float:
    """Mean squared difference of a picture and the warped previous one, in squares of the range 0..`top`.

    picture, previous: (H, W, C). valid: (H, W), False where the scene point was hidden before. NaN when it is False
    everywhere.
    """
    moved, inside = warp(previous.astype(np.float32), flow)
    seen = valid & inside
    if not seen.any():
        return math.nan
    difference = (picture.astype(np.float64) - moved)[seen] / top
    return float(np.mean(difference**2))


def estimate_flow(previous: NDArray[np.uint8], picture: NDArray[np.uint8]) -> tuple[Flow, Mask]:
    """Flow from one RGB picture to the next and where it can be trusted, by dense inverse search in both directions.

    A pixel is trusted when the two directions agree: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5 (Sundaram et al., 2010).
    """
    grey_before, grey_now = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (previous, picture))
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    empty = np.zeros((*grey_now.shape, 2), np.float32)
    backward = search.calc(grey_now, grey_before, empty.copy())
    forward = search.calc(grey_before, grey_now, empty)
    flow = np.asarray(-backward, np.float32)
    there, inside = warp(forward, flow)
    disagreement = np.sum((backward + there) ** 2, axis=2)
    tolerance = 0.01 * (np.sum(backward**2, axis=2) + np.sum(there**2, axis=2)) + 0.5
    return flow, inside & (disagreement < tolerance)


class TemporalWarpingError:
    """The streaming form: mean of `warping_error` over the frames of a sequence."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._previous: NDArray[Any] | None = None

    def add(self, picture: NDArray[np.uint8], flow: Flow | None, valid: Mask | None) -> None:
        """The next picture (H, W, 3), with the flow since the one before; the first picture needs none."""
        if self._previous is not None and flow is not None and valid is not None:
            self.values.append(warping_error(picture, self._previous, flow, valid))
        self._previous = picture.copy()

    @property
    def mean(self) -> float | None:
        """Mean over the pairs that could be compared; None when there are none."""
        finite = [value for value in self.values if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else None
