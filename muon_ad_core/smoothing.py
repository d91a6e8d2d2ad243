# SPDX-License-Identifier: Apache-2.0
"""Temporal smoothing against flicker: a share of what was painted before is kept, moved as the scene has moved.

The motion is one translation for the whole frame (most of what a camera does from frame to frame), found by dense
inverse search (Kroeger et al., 2016) in small pictures. Where the input changed beyond it, nothing is kept.
"""

from __future__ import annotations

import cv2
import numpy as np

USUAL_SHARE = 0.7
"""Of what was painted before, in videos and in the nodes, unless they are told another."""
SMALLER = (4, 2)
"""Motion and change are judged in pictures so many times smaller, the first that leaves `LEAST_SIDE`, or the last."""
CHANGED = 10.0
"""Mean input change (0..255) from which nothing of the previous result is kept."""
ANOTHER_SCENE = 0.5
"""Share of the frame that changed from which it shows another scene: nothing has moved, and nothing is kept."""
STILL = 0.08
"""Motion in pixels of the frame up to which the scene stands still."""
MOST_MOVING = 0.8
"""Most that is kept of a picture that moves: moving it blurs it a little, and what is kept is moved again."""
LEAST_SIDE = 32
"""Of small pictures in which motion is looked for."""
EDGE = 12.0
"""Least difference of brightness across three pixels of the small picture from which motion is believed."""


class SceneSmoother:
    """Smooths one sequence of frames of one size; all of its pictures are allocated once."""

    def __init__(self, height: int, width: int) -> None:
        half = (max(1, height // 2), max(1, width // 2), 3)
        self._smaller = next((times for times in SMALLER if min(height, width) // times >= LEAST_SIDE), SMALLER[-1])
        small = (max(1, height // self._smaller), max(1, width // self._smaller))
        self._previous = np.empty((height, width, 3), np.uint8)
        self._across, self._moved = np.empty_like(self._previous), np.empty_like(self._previous)
        self._half = np.empty(half, np.uint8)
        self._small, self._previous_small = np.empty((*small, 3), np.uint8), np.empty((*small, 3), np.uint8)
        self._grey, self._previous_grey = np.empty(small, np.uint8), np.empty(small, np.uint8)
        self._flow = np.empty((*small, 2), np.float32)
        self._changed = np.empty((height, width), np.uint8)
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._moved_by = (0.0, 0.0)
        self._has_previous = False
        self._previous_seen_at: tuple[int, ...] | None = None  # of a small picture with less detail than these have
        self.another_scene = False
        """Whether the frame that was taken in last shows another scene than the one before."""

    def forget(self) -> None:
        """The next frame begins a new sequence."""
        self._has_previous = False
        self._previous_seen_at = None

    def go_on_from(self, other: SceneSmoother) -> None:
        """The next frame continues the sequence of `other`, whose frames have another size."""
        self._has_previous = other._has_previous
        if self._has_previous:
            _resized(other._previous, self._previous)
            _resized(other._previous_small, self._previous_small)
            _resized(other._previous_grey, self._previous_grey)
            if other._small.shape[0] < self._small.shape[0]:
                self._previous_seen_at = other._small.shape

    def follow(self, frame: np.ndarray) -> tuple[float, float]:
        """Take in the next frame, RGB uint8; pixels (x, y) by which the scene has moved since the one before."""
        cv2.resize(frame, self._half.shape[1::-1], dst=self._half, interpolation=cv2.INTER_AREA)
        cv2.resize(self._half, self._small.shape[1::-1], dst=self._small, interpolation=cv2.INTER_AREA)
        cv2.cvtColor(self._small, cv2.COLOR_RGB2GRAY, dst=self._grey)
        self._moved_by = self._motion() if self._has_previous else (0.0, 0.0)
        self.another_scene = False
        if self._has_previous:
            self._find_changed(*self._moved_by)
            self._previous_seen_at = None
            self.another_scene = cv2.mean(self._changed)[0] > 255 * ANOTHER_SCENE
            if self.another_scene:
                self._moved_by = (0.0, 0.0)
                self._changed[:] = 255
        self._small, self._previous_small = self._previous_small, self._small
        self._grey, self._previous_grey = self._previous_grey, self._grey
        return self._moved_by

    def smooth(self, painted: np.ndarray, share: float) -> None:
        """Blend the previous result into what was painted of the frame that was taken in last, in place."""
        if self._has_previous:
            x, y = self._moved_by
            kept = self._previous
            if x or y:
                share = min(share, MOST_MOVING)
                kept = self._displaced(x, y)
            cv2.copyTo(painted, self._changed, kept)
            cv2.addWeighted(kept, share, painted, 1 - share, 0, dst=painted)
        np.copyto(self._previous, painted)
        self._has_previous = True

    def _motion(self) -> tuple[float, float]:
        """Pixels (x, y) of the frame by which the scene has moved: the median over what has edges."""
        if min(self._grey.shape) < LEAST_SIDE:
            return 0.0, 0.0
        # Every other row and column: the search itself goes in steps of four.
        edges = cv2.morphologyEx(self._grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))[::2, ::2] > EDGE
        if not edges.any():
            return 0.0, 0.0
        self._flow[:] = 0  # it is where the search begins
        self._search.calc(self._grey, self._previous_grey, self._flow)
        x, y = (-self._smaller * float(np.median(self._flow[::2, ::2, axis][edges])) for axis in (0, 1))
        height, width = self._previous.shape[:2]
        known = np.hypot(x, y) > STILL and abs(x) < width / 2 and abs(y) < height / 2
        return (x, y) if known else (0.0, 0.0)

    def _find_changed(self, x: float, y: float) -> None:
        """Mark the places whose input is not what moved there."""
        matrix = np.array([[1, 0, -x / self._smaller], [0, 1, -y / self._smaller]])
        size, flags = self._small.shape[1::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(self._previous_small, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        red, green, blue = cv2.split(cv2.absdiff(self._comparable(), moved))
        change = cv2.blur(cv2.max(cv2.max(red, green), blue), (5, 5))
        cv2.threshold(cv2.resize(change, self._changed.shape[::-1]), CHANGED, 255, cv2.THRESH_BINARY, dst=self._changed)

    def _comparable(self) -> np.ndarray:
        """The small picture, with no more detail than the one before has."""
        if self._previous_seen_at is None:
            return self._small
        coarse, result = np.empty(self._previous_seen_at, np.uint8), np.empty_like(self._small)
        _resized(self._small, coarse)
        _resized(coarse, result)
        return result

    def _displaced(self, x: float, y: float) -> np.ndarray:
        """The previous result moved by (x, y), bilinear; what came in at the border counts as changed."""
        height, width = self._previous.shape[:2]
        columns, left, right = _neighbours(x, width)
        rows, above, below = _neighbours(y, height)
        for part in (self._changed[:, : columns.start], self._changed[:, columns.stop :]):
            part[:] = 255
        for part in (self._changed[: rows.start], self._changed[rows.stop :]):
            part[:] = 255
        share = x - np.floor(x)
        across, moved = self._across[:, columns], self._moved[rows, columns]
        cv2.addWeighted(self._previous[:, left], share, self._previous[:, right], 1 - share, 0, dst=across)
        share = y - np.floor(y)
        cv2.addWeighted(across[above], share, across[below], 1 - share, 0, dst=moved)
        return self._moved


def _resized(picture: np.ndarray, result: np.ndarray) -> None:
    shrinks = picture.shape[0] > result.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.resize(picture, result.shape[1::-1], dst=result, interpolation=interpolation)


def _neighbours(motion: float, length: int) -> tuple[slice, slice, slice]:
    """Where a line of so many pixels is known after a motion, and the two runs of pixels that come to lie there."""
    whole = int(np.floor(motion))
    start, stop = max(0, whole + 1), min(length, length + whole)
    return slice(start, stop), slice(start - whole - 1, stop - whole - 1), slice(start - whole, stop - whole)
