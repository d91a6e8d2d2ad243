# SPDX-License-Identifier: Apache-2.0
"""What attention distillation is compared with: colour moments alone, and direct optimisation of a perceptual loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muon_ad_core.distill.features import SqueezeNetFeatures
from muon_ad_core.distill.losses import content_distance, moment_distance, moments
from muon_ad_core.distill.optimisation import LatentOptimisation
from muon_ad_core.distill.optimisation_settings import OptimisationSettings
from muon_ad_core.distill.pictures import to_picture, to_tensor
from muon_ad_core.distill.pyramid import level_count, render, split

STYLE_TAPS = (1, 4, 7, 9)
CONTENT_TAP = 6


def match_colour_moments(content: NDArray[np.uint8], style: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """AdaIN on pixels: the content (H, W, 3) with each channel's mean and standard deviation of the style's.

    Huang and Belongie (2017) on RGB in place of features: the palette without any stroke.
    """
    pixels = content.astype(np.float64)
    mean, deviation = (f(pixels, axis=(0, 1)) for f in (np.mean, np.std))
    wanted_mean, wanted_deviation = (f(style.astype(np.float64), axis=(0, 1)) for f in (np.mean, np.std))
    moved = (pixels - mean) / np.maximum(deviation, 1e-3) * wanted_deviation + wanted_mean
    return moved.round().clip(0, 255).astype(np.uint8)


class PerceptualObjective:
    """Feature moments of a style and features of the content as losses of a pixel pyramid (see `optimisation`).

    content: (1, 3, H, W), style: (1, 3, H', W'), in [-1, 1]. The same losses as the student trainer's.
    """

    def __init__(self, network: SqueezeNetFeatures, content: Tensor, style: Tensor) -> None:
        self._network = network
        with torch.no_grad():
            wanted = network(style, STYLE_TAPS)
            self._style = [moments(wanted[tap]) for tap in STYLE_TAPS]
            self._content = network(content, (CONTENT_TAP,))[CONTENT_TAP]

    def __call__(self, levels: Any, step: int) -> tuple[Tensor, Tensor]:
        found = self._network(render(levels), (*STYLE_TAPS, CONTENT_TAP))
        pairs = zip(STYLE_TAPS, self._style, strict=True)
        style = torch.stack([moment_distance(moments(found[tap]), target).mean() for tap, target in pairs]).mean()
        return style, content_distance(found[CONTENT_TAP], self._content).mean()


def optimise_perceptually(
    network: SqueezeNetFeatures,
    content: NDArray[np.uint8],
    style: NDArray[np.uint8],
    steps: int = 100,
    content_weight: float = 0.1,
    learning_rate: float = 0.03,
) -> NDArray[np.uint8]:
    """The reference that wins its own metric: the content's pixel pyramid optimised for a perceptual loss itself."""
    start = to_tensor([content])
    settings = OptimisationSettings(
        optimizer="adam", steps=steps, learning_rate=learning_rate, schedule="cosine", content_weight=content_weight
    )
    optimisation = LatentOptimisation(split(start, level_count(*start.shape[2:])), settings)
    objective = PerceptualObjective(network, start, to_tensor([style]))
    for _ in range(steps):
        optimisation.step(objective)
    with torch.no_grad():
        return to_picture(render(optimisation.latent)[0].clamp(-1, 1))
