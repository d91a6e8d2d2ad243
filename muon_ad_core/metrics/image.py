# SPDX-License-Identifier: Apache-2.0
"""Metrics of one picture against another: PSNR, SSIM, and how much of the fine detail is left.

Pictures are (H, W, C) or batches (B, H, W, C), of any number type, with values in 0..data_range. One picture gives
a float, a batch an array (B,) of float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B (ITU-R BT.601)


def psnr(picture: Array, reference: Array, data_range: float = 255.0) -> Any:
    """Peak signal-to-noise ratio in dB, 10 log10(range^2 / mean squared error); infinite for equal pictures.

    Raises ValueError when the shapes differ.
    """

    def one(a: Array, b: Array) -> float:
        error = float(np.mean((a.astype(np.float64) - b) ** 2))
        return float(10.0 * np.log10(data_range**2 / error)) if error else float("inf")

    return _for_each(one, picture, reference)


def ssim(picture: Array, reference: Array, data_range: float = 255.0) -> Any:
    """Structural similarity, -1..1, mean over positions and channels (Wang et al., 2004).

    Gaussian window of 11 pixels, sigma 1.5; the picture is mirrored at its borders, as torchmetrics does.
    Raises ValueError when the shapes differ or a side is shorter than the window.
    """
    if min(picture.shape[-3:-1]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {SSIM_WINDOW} x {SSIM_WINDOW}, not {picture.shape[-3:-1]}")
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2

    def one(a: Array, b: Array) -> float:
        a, b = a.astype(np.float64), b.astype(np.float64)
        mean_a, mean_b = _window_mean(a), _window_mean(b)
        variance_a = _window_mean(a * a) - mean_a**2
        variance_b = _window_mean(b * b) - mean_b**2
        covariance = _window_mean(a * b) - mean_a * mean_b
        likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        return float(np.mean(likeness / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))))

    return _for_each(one, picture, reference)


def high_frequency_retention(picture: Array, reference: Array, cutoff: float = 0.25) -> Any:
    """Energy of the RGB picture's luminance above `cutoff` cycles a pixel, relative to the reference's; >= 0.

    1 is as much fine detail as the reference has, less is blur, more is added texture or noise; NaN when the
    reference has none. A Hann window keeps the picture's borders out. Raises ValueError when the shapes differ.
    """

    def one(a: Array, b: Array) -> float:
        energy, available = _energy_above(a, cutoff), _energy_above(b, cutoff)
        return energy / available if available > 1e-12 * b.size else float("nan")

    return _for_each(one, picture, reference)


def _for_each(metric: Callable[[Array, Array], float], picture: Array, reference: Array) -> Any:
    if picture.shape != reference.shape or picture.ndim not in (3, 4):
        raise ValueError(f"pictures must have one shape, (H, W, C) or (B, H, W, C): {picture.shape}, {reference.shape}")
    if picture.ndim == 3:
        return metric(picture, reference)
    return np.array([metric(a, b) for a, b in zip(picture, reference)], np.float64)


def _window_mean(values: Array) -> Array:
    return cv2.GaussianBlur(values, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT_101)


def _energy_above(picture: Array, cutoff: float) -> float:
    luminance = picture.astype(np.float64) @ LUMINANCE
    height, width = luminance.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    spectrum = np.fft.rfft2((luminance - luminance.mean()) * window)
    high = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) >= cutoff
    return float(np.sum(np.abs(spectrum[high]) ** 2) / luminance.size)
