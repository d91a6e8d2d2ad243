# SPDX-License-Identifier: Apache-2.0
"""Temporal smoothing against flicker: where the input stands still, a share of the previous result is kept."""

from __future__ import annotations

import cv2
import numpy as np

STILL_CHANGE = 4.0
MOVED_CHANGE = 16.0
"""Mean input change (0..255) up to which a place counts as still, and from which it counts as moved."""
SMALLER = 4
"""The change is judged in pictures this many times smaller."""


class StillSmoother:
    """Smooths one sequence of frames of one size; all of its memory is allocated once."""

    def __init__(self, height: int, width: int) -> None:
        small = (max(1, height // SMALLER), max(1, width // SMALLER), 3)
        self._previous = np.empty((height, width, 3), np.uint8)
        self._small, self._previous_small = np.empty(small, np.uint8), np.empty(small, np.uint8)
        self._keep, self._renew = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
        self._has_previous = False

    def forget(self) -> None:
        """The next frame begins a new sequence."""
        self._has_previous = False

    def smooth(self, frame: np.ndarray, painted: np.ndarray, share: float) -> None:
        """Blend the previous result into `painted` in place; frame: its input, RGB uint8 of the same size."""
        cv2.resize(frame, self._small.shape[1::-1], dst=self._small, interpolation=cv2.INTER_AREA)
        if self._has_previous:
            change = cv2.absdiff(self._small, self._previous_small).max(axis=2)
            change = cv2.blur(change.astype(np.float32), (5, 5))
            still = np.clip((MOVED_CHANGE - change) / (MOVED_CHANGE - STILL_CHANGE), 0, 1)
            cv2.resize(share * still, self._keep.shape[::-1], dst=self._keep)
            np.subtract(1, self._keep, out=self._renew)
            cv2.blendLinear(self._previous, painted, self._keep, self._renew, dst=painted)
        np.copyto(self._previous_small, self._small)
        np.copyto(self._previous, painted)
        self._has_previous = True
