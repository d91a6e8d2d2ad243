# SPDX-License-Identifier: Apache-2.0
"""The softening of painted pictures, the same in training and at run time.

A mesh with a period of two pixels, the network's finest cells, stands still while the scene moves and would flicker:
softening makes it faint. Trained through it, a network puts its strokes where they last. Where the engine says so, only
what was painted over the frame is softened: the frame's own fine detail, which a small network cannot carry, stays.
"""

from __future__ import annotations

import cv2
import numpy as np

from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import EngineError

FIELD = "softness"
"""Of the manifest; an engine without it is not softened."""
DETAIL_FIELD = "keeps_detail"
"""Of the manifest: whether the frame's own detail is left out of the softening; not, in an engine without it."""
USUAL = 0.7
"""Standard deviation in pixels with which students are trained."""
MOST = 2.0
"""Three pixels in a row count alike, almost."""


def soft_kernel(softness: float) -> tuple[float, float, float]:
    """Weights of a pixel and both its neighbours in a row or column; softness: standard deviation in pixels."""
    before, middle, after = cv2.getGaussianKernel(3, softness)[:, 0].tolist()
    return before, middle, after


class Softener:
    """Softens painted pictures of one frame size after another.

    softness: standard deviation in pixels, 0 for none; keeps_detail: the frame's own detail is not softened.
    """

    def __init__(self, softness: float, keeps_detail: bool = False) -> None:
        self.softness, self.keeps_detail = softness, keeps_detail
        self._soft_frame, self._detail = np.empty((2, 0, 0, 3), np.uint8)

    def __call__(self, painted: np.ndarray, frame: np.ndarray, result: np.ndarray) -> None:
        """Write the painted picture of a frame as it is shown; all are uint8 (H, W, 3)."""
        if not self.softness:
            np.copyto(result, painted)
            return
        cv2.GaussianBlur(painted, (3, 3), self.softness, dst=result)
        if self.keeps_detail:
            self._add_detail(frame, result)

    def _add_detail(self, frame: np.ndarray, result: np.ndarray) -> None:
        """Add to a result what softening would take from its frame: a pixel of it is lighter or darker, never both."""
        if self._detail.shape != frame.shape:
            self._soft_frame, self._detail = np.empty((2, *frame.shape), np.uint8)
        cv2.GaussianBlur(frame, (3, 3), self.softness, dst=self._soft_frame)
        cv2.add(result, cv2.subtract(frame, self._soft_frame, self._detail), result)
        cv2.subtract(result, cv2.subtract(self._soft_frame, frame, self._detail), result)


def softener_of(package: EnginePackage) -> Softener:
    """What a style engine asks for; EngineError when it makes no sense."""
    softness = package.manifest.get(FIELD, 0.0)
    if not isinstance(softness, (int, float)) or not 0 <= softness <= MOST:
        raise EngineError(f"'{FIELD}' of engine {package.name} must be from 0 to {MOST}, got {softness!r}")
    keeps_detail = package.manifest.get(DETAIL_FIELD, False)
    if not isinstance(keeps_detail, bool):
        raise EngineError(f"'{DETAIL_FIELD}' of engine {package.name} must be true or false, got {keeps_detail!r}")
    return Softener(float(softness), keeps_detail)
