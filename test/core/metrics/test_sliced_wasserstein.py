# SPDX-License-Identifier: Apache-2.0
"""Patch sliced Wasserstein distance: closed forms and what it must and must not see."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from muon_ad_core.metrics.sliced_wasserstein import patch_sliced_wasserstein, unit_kernels


def noise(seed: int, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_equal_pictures_have_none() -> None:
    assert patch_sliced_wasserstein(noise(0), noise(0)) == 0.0


def test_flat_pictures_differ_by_their_colours_along_each_direction() -> None:
    dark, light = np.full((40, 40, 3), 51, np.uint8), np.full((50, 30, 3), 153, np.uint8)
    kernels = unit_kernels(5, 16, 3)
    expected = np.abs(kernels.sum((1, 2, 3))).mean() * (153 - 51) / 255
    found = patch_sliced_wasserstein(dark, light, patch=5, projections=16, scales=2, seed=3)
    assert found == pytest.approx(expected, rel=1e-4)


def test_single_pixels_agree_with_scipy() -> None:
    a, b = noise(1, (40, 40)), noise(2, (30, 50)) // 2
    kernels = unit_kernels(1, 8, 0)[:, 0, 0]
    expected = [wasserstein_distance(*((x.reshape(-1, 3) / 255) @ kernel for x in (a, b))) for kernel in kernels]
    found = patch_sliced_wasserstein(a, b, patch=1, projections=8, scales=1)
    assert found == pytest.approx(np.mean(expected), rel=0.02)


def test_places_do_not_count_but_neighbours_do() -> None:
    picture = noise(4, (64, 64))
    smooth = np.repeat(np.repeat(picture[::4, ::4], 4, 0), 4, 1)
    shuffled = np.random.default_rng(0).permutation(smooth.reshape(-1, 3)).reshape(smooth.shape)
    near = patch_sliced_wasserstein(smooth, np.roll(smooth, 32, 0), scales=1)
    assert patch_sliced_wasserstein(smooth, shuffled, patch=1, scales=1) == pytest.approx(0, abs=1e-6)
    assert patch_sliced_wasserstein(smooth, shuffled, patch=7, scales=1) > 5 * near


def test_too_small_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 28"):
        patch_sliced_wasserstein(noise(0, (20, 64)), noise(1))
