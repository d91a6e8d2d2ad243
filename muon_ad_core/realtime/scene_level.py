# SPDX-License-Identifier: Apache-2.0
"""Level of detail by what is seen: rich and near scenes get wide networks, plain and far ones narrow networks."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

STRIDE = 8  # every eighth pixel in both directions tells the entropy
PLAIN, RICH = 0.45, 0.75  # entropy at which a scene needs the narrowest and the widest network
NEAR, FAR = 2.0, 8.0  # metres, likewise
HYSTERESIS = 0.15  # of a level


def frame_entropy(rgb: NDArray[np.uint8]) -> float:
    """Entropy of the brightness of a picture (height x width x 3): 0 for a plain one, 1 when all values are equally
    frequent."""
    green = rgb[::STRIDE, ::STRIDE, 1].ravel()  # brightness is mostly green
    counts = np.bincount(green, minlength=256)
    shares = counts[counts > 0] / green.size
    return float(-(shares * np.log2(shares)).sum() / 8.0)


class SceneLevel:
    """Chooses one of `count` levels, 0 the cheapest, by entropy and, where it is known, distance."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._index = count - 1

    def update(self, entropy: float, distance_m: float = math.nan) -> int:
        """Take in the scene: `entropy` 0..1, `distance_m` in metres; NaN where one is not known."""
        scores = []
        if math.isfinite(entropy):
            scores.append(_share(entropy, PLAIN, RICH))
        if math.isfinite(distance_m):
            scores.append(1.0 - _share(distance_m, NEAR, FAR))
        if not scores:
            return self._index
        wanted = sum(scores) / len(scores) * (self._count - 1)
        if abs(wanted - self._index) > 0.5 + HYSTERESIS:
            self._index = min(self._count - 1, max(0, math.floor(wanted + 0.5)))
        return self._index


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))
