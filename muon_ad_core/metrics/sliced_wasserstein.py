# SPDX-License-Identifier: Apache-2.0
"""Patch sliced Wasserstein distance: how differently two pictures are made of small patches, wherever these lie.

Of another kind than feature statistics, so that it can judge pictures that were optimised for those (Elnekave and
Weiss, 2022, use it to generate textures). Needs neither torch nor weights.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

QUANTILES = 1024


def patch_sliced_wasserstein(
    picture: NDArray[Any], style: NDArray[Any], patch: int = 7, projections: int = 64, scales: int = 3, seed: int = 0
) -> float:
    """Mean distance of the patches' distributions along random directions and over scales; >= 0, 0 for equal pictures.

    picture, style: (H, W, 3) uint8, of any two sizes; values count from 0 to 1. patch: side in pixels; every patch that
    fits counts. projections: unit vectors drawn by `seed`, along each the Wasserstein-1 distance is taken. scales: each
    half the size of the one before. Raises ValueError for a picture smaller than a patch at the coarsest scale.
    """
    least = patch * 2 ** (scales - 1)
    if min(*picture.shape[:2], *style.shape[:2]) < least:
        raise ValueError(
            f"pictures must have at least {least} pixels a side, not {picture.shape[:2]}, {style.shape[:2]}"
        )
    kernels = unit_kernels(patch, projections, seed)
    pair: list[NDArray[Any]] = [np.asarray(array, np.float32) / 255 for array in (picture, style)]
    total = 0.0
    for scale in range(scales):
        if scale:
            pair = [_halved(array) for array in pair]
        found, wanted = (_quantiles(array, kernels) for array in pair)
        total += float(np.abs(found - wanted).mean())
    return total / scales


def unit_kernels(patch: int, count: int, seed: int) -> NDArray[Any]:
    """Random directions (count, patch, patch, 3) of length 1."""
    kernels = np.random.default_rng(seed).standard_normal((count, patch, patch, 3))
    return (kernels / np.linalg.norm(kernels.reshape(count, -1), axis=1)[:, None, None, None]).astype(np.float32)


def _quantiles(picture: NDArray[Any], kernels: NDArray[Any]) -> NDArray[Any]:
    """Quantiles (count, QUANTILES) of the inner products of every patch with each kernel."""
    side = kernels.shape[1]
    patches = np.lib.stride_tricks.sliding_window_view(picture, (side, side), axis=(0, 1))  # (h, w, 3, side, side)
    directions = kernels.transpose(0, 3, 1, 2).reshape(len(kernels), -1).T
    height, width = patches.shape[:2]
    row = np.empty((width, len(directions)), np.float32)  # memory is used again: new pages cost more than the sums
    values = np.empty((len(kernels), height * width), np.float32)
    for index in range(height):
        np.copyto(row.reshape(patches.shape[1:]), patches[index])
        values[:, index * width : (index + 1) * width] = (row @ directions).T
    values.sort(axis=1)
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES * values.shape[1] - 0.5
    return np.stack([np.interp(places, np.arange(values.shape[1]), line) for line in values])


def _halved(picture: NDArray[Any]) -> NDArray[Any]:
    size = (picture.shape[1] // 2, picture.shape[0] // 2)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
