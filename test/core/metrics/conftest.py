# SPDX-License-Identifier: Apache-2.0
"""Pictures to measure: real ones that ship with scikit-image, and random ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from muon_ad_core.sources.photographs import load_photograph

SIDE = 96


@pytest.fixture(scope="session")
def photographs() -> NDArray[np.uint8]:
    """(3, SIDE, SIDE, 3)."""
    names = ("astronaut.png", "coffee.png", "chelsea.png")
    pictures = [cv2.resize(load_photograph(name), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for name in names]
    return np.stack(pictures)


@pytest.fixture(scope="session")
def blurred(photographs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([cv2.GaussianBlur(picture, (7, 7), 1.5) for picture in photographs])


@pytest.fixture(scope="session")
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
