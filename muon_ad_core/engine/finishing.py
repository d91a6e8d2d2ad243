# SPDX-License-Identifier: Apache-2.0
"""The last touch to a painted picture, the same in training and at run time: softer strokes, the frame's own detail.

A mesh with a period of two pixels, the network's finest cells, stands still while the scene moves and would flicker:
softening makes it faint. Trained through it, a network puts its strokes where they last. What a small network cannot
carry, the frame has: where the engine says so, only what was painted over the frame is softened, and some of the
frame's local contrast is added, which makes faces and edges clear under the strokes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from muon_ad_core.engine.package import EnginePackage, Level
from muon_ad_core.errors import EngineError

SOFTNESS_FIELD, DETAIL_FIELD, CONTRAST_FIELD = "softness", "keeps_detail", "local_contrast"
"""Of the manifest; an engine without one does not do it. Levels may have a local contrast of their own."""
MOST_SOFTNESS = 2.0
"""Three pixels in a row count alike, almost."""
CONTRAST_CELL = 4
"""Local contrast is what a frame has beside its mean over a few cells of so many pixels along a side."""
CONTRAST_KERNEL = 5, 1.0
"""Side and standard deviation, in cells, of the Gaussian that weighs them."""


@dataclass(frozen=True)
class Finish:
    """What is done to painted pictures.

    softness: standard deviation in painted pixels with which they are softened, 0 for none of all this; keeps_detail:
    the frame's own detail stays, also that for which a smaller painted picture has no pixels; local_contrast: with it,
    share of the frame's local contrast that is added.
    """

    softness: float = 0.0
    keeps_detail: bool = False
    local_contrast: float = 0.0

    def fields(self) -> dict[str, float | bool]:
        """For the manifest of an engine."""
        return {
            SOFTNESS_FIELD: self.softness,
            DETAIL_FIELD: self.keeps_detail,
            CONTRAST_FIELD: self.local_contrast,
        }


USUAL = Finish(softness=0.7, keeps_detail=True, local_contrast=0.6)
"""With which students are trained."""
NOTHING = Finish()


def gaussian_weights(side: int, deviation: float) -> list[float]:
    """Of the pixels of a row or column around one, as OpenCV has them; deviation: in pixels."""
    return list(map(float, cv2.getGaussianKernel(side, deviation)[:, 0]))


class Finisher:
    """Finishes painted pictures, whose buffers it keeps from one frame to the next of the same size.

    finish: what is done; may be another one from picture to picture.
    """

    def __init__(self, finish: Finish = NOTHING) -> None:
        self.finish = finish
        self._soft, self._without_detail, self._mean, self._difference = np.empty((4, 0, 0, 3), np.uint8)

    def __call__(self, painted: np.ndarray, seen: np.ndarray, frame: np.ndarray, result: np.ndarray) -> None:
        """Write the painted picture of a frame as it is shown.

        painted, and seen, what it was painted of: uint8 (h, w, 3); frame, of which that was seen, and result: uint8 (H,
        W, 3), the same size or a larger one.
        """
        if self._soft.shape != painted.shape or self._difference.shape != result.shape:
            self._soft, self._without_detail, self._mean = np.empty((3, *painted.shape), np.uint8)
            self._difference = np.empty_like(result)
        smaller = painted.shape != result.shape
        soft = self._soft if smaller else result
        self._soften(painted, soft)
        if self.finish.softness and self.finish.keeps_detail:
            self._remove_detail(seen)
            add = self._add_enlarged if smaller else self._add_detail
            add(frame, result)
        elif smaller:
            _enlarge(soft, result)

    def _remove_detail(self, seen: np.ndarray) -> None:
        """From what was painted of a frame to what of it is painted over."""
        without, share = self._without_detail, self.finish.local_contrast
        if share == 1:
            _mean_around(seen, without)
            return
        self._soften(seen, without)
        if share:
            _mean_around(seen, self._mean)
            cv2.addWeighted(without, 1 - share, self._mean, share, 0, without)

    def _add_detail(self, frame: np.ndarray, result: np.ndarray) -> None:
        """Add to a result what its frame has of detail: a pixel of it is lighter or darker, never both."""
        cv2.add(result, cv2.subtract(frame, self._without_detail, self._difference), result)
        cv2.subtract(result, cv2.subtract(self._without_detail, frame, self._difference), result)

    def _add_enlarged(self, frame: np.ndarray, result: np.ndarray) -> None:
        """Add to a frame what was painted over it, enlarged: half of the difference fits into eight bits, and enlarging
        is what takes the time."""
        half = cv2.addWeighted(self._soft, 0.5, self._without_detail, -0.5, 128, self._soft)
        cv2.addWeighted(frame, 1, _enlarge(half, self._difference), 2, -256, result)

    def _soften(self, picture: np.ndarray, result: np.ndarray) -> None:
        if self.finish.softness:
            cv2.GaussianBlur(picture, (3, 3), self.finish.softness, dst=result)
        else:
            np.copyto(result, picture)


def finish_of(package: EnginePackage, level: Level) -> Finish:
    """What a style engine asks for of a level; EngineError when it makes no sense."""
    keeps_detail = package.manifest.get(DETAIL_FIELD, False)
    if not isinstance(keeps_detail, bool):
        raise EngineError(f"'{DETAIL_FIELD}' of engine {package.name} must be true or false, got {keeps_detail!r}")
    softness = _checked(package.manifest.get(SOFTNESS_FIELD, 0.0), SOFTNESS_FIELD, MOST_SOFTNESS, package.name)
    contrast, where = level.local_contrast, f"{package.name}, level {level.name},"
    if contrast is None:
        contrast, where = package.manifest.get(CONTRAST_FIELD, 0.0), package.name
    return Finish(softness, keeps_detail, _checked(contrast, CONTRAST_FIELD, 1.0, where))


def _checked(value: object, field: str, most: float, where: str) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise EngineError(f"'{field}' of engine {where} must be from 0 to {most}, got {value!r}")
    return float(value)


def _mean_around(frame: np.ndarray, mean: np.ndarray) -> None:
    """Write the mean around every pixel of a frame, smoothly."""
    height, width = frame.shape[:2]
    below, right = -height % CONTRAST_CELL, -width % CONTRAST_CELL
    if below or right:  # cells of one size, so that tiles of a picture have those of the whole
        frame = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
    rows, columns = frame.shape[:2]
    side, deviation = CONTRAST_KERNEL
    small = frame
    for part in (2, CONTRAST_CELL):  # in two steps: OpenCV halves sizes very fast
        small = cv2.resize(small, (columns // part, rows // part), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (side, side), deviation)
    if below or right:
        np.copyto(mean, cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)[:height, :width])
    else:
        _enlarge(small, mean)


def _enlarge(picture: np.ndarray, result: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, result.shape[1::-1], dst=result, interpolation=cv2.INTER_LINEAR)
