# SPDX-License-Identifier: Apache-2.0
"""What a frame as a whole adds to the style code, computed beside the graph: `nets.frame_context` without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from safetensors.numpy import load_file

from muon_ad_core.engine.frames import samples
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import EngineError

FIELD = "context"
"""Of the manifest: the file of the weights. An engine that looks at no frame as a whole has none."""

STEP, SAMPLES = 8, 64
"""Least distance between the pixels that are looked at, and about how many of them there are along each side."""
NEAR, FAR = 1, 4
"""Pixels to the right, of those that it is compared with."""
FLOOR = 0.01
"""Added to spreads and differences, of colours from -1 to 1, before the logarithm."""
TYPICAL = (0.0, 0.0, 0.0, -1.2, -1.2, -1.2, -3.8, -2.8)
"""Statistics of a usual photograph: means, then logarithms to base 2 of spreads and of near and far differences."""
CLIP = 3.0


class FrameContext:
    """From trained weights, named as in the network of the same name."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        """Raises KeyError when weights are missing."""
        self._first, self._bias = weights["first.weight"], weights["first.bias"]
        self._second = weights["second.weight"]

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """RGB uint8 frame (H, W, 3), more than 4 pixels wide -> (code,) float32."""
        return self._second @ np.tanh(self._first @ statistics(frame) + self._bias)


def statistics(frame: np.ndarray) -> np.ndarray:
    """(8,) float32, see `nets.frame_context.statistics`."""
    rows, columns = steps(*frame.shape[:2])
    here, near, far = samples(frame, rows, columns, (0, NEAR, FAR))
    mean, spread = cv2.meanStdDev(here)
    differences = [cv2.mean(cv2.absdiff(here, other))[:3] for other in (near, far)]
    magnitudes = np.log2(np.concatenate([spread[:, 0], np.mean(differences, axis=1)]) / 127.5 + FLOOR)
    found = np.concatenate([mean[:, 0] / 127.5 - 1, magnitudes]) - TYPICAL
    return np.clip(found, -CLIP, CLIP).astype(np.float32)


def steps(height: int, width: int) -> tuple[int, int]:
    """Distance between the rows, and between the columns, that are looked at."""
    return max(STEP, height // SAMPLES), max(STEP, width // SAMPLES)


def load_context(package: EnginePackage) -> FrameContext | None:
    """The context of a style engine, None where it has none; raises EngineError when its weights are not there."""
    if FIELD not in package.manifest:
        return None
    path = package.path(package.manifest[FIELD])
    try:
        return FrameContext(load_file(path))
    except KeyError as missing:
        raise EngineError(f"{path} lacks {missing}: export the engine again") from None
