# SPDX-License-Identifier: Apache-2.0
"""The softening of painted pictures, the same in training and at run time.

A mesh with a period of two pixels, the network's finest cells, stands still while the scene moves and would flicker:
softening makes it faint. Trained through it, a network puts its strokes where they last.
"""

from __future__ import annotations

import cv2
import numpy as np

from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import EngineError

FIELD = "softness"
"""Of the manifest; an engine without it is not softened."""
USUAL = 0.7
"""Standard deviation in pixels with which students are trained."""
MOST = 2.0
"""Three pixels in a row count alike, almost."""


def softness_of(package: EnginePackage) -> float:
    """Standard deviation in pixels that a style engine asks for; EngineError when it makes no sense."""
    softness = package.manifest.get(FIELD, 0.0)
    if not isinstance(softness, (int, float)) or not 0 <= softness <= MOST:
        raise EngineError(f"'{FIELD}' of engine {package.name} must be from 0 to {MOST}, got {softness!r}")
    return float(softness)


def soft_kernel(softness: float) -> tuple[float, float, float]:
    """Weights of a pixel and both its neighbours in a row or column; softness: standard deviation in pixels."""
    before, middle, after = cv2.getGaussianKernel(3, softness)[:, 0].tolist()
    return before, middle, after


def soften(painted: np.ndarray, result: np.ndarray, softness: float) -> None:
    """Write a painted picture (H, W, 3) softened, or, with softness 0, as it is."""
    if softness:
        cv2.GaussianBlur(painted, (3, 3), softness, dst=result)
    else:
        np.copyto(result, painted)
