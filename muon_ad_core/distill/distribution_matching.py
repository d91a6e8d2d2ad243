# SPDX-License-Identifier: Apache-2.0
"""A style's distribution of colours and of perceptual features as a loss, wherever in the picture they are.

Patches tell what lies beside what within some pixels, and what flat regions find are flat patches; the distribution
tells how much of everything a picture in this style has (`feature_distribution`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from muon_ad_core.distill.feature_distribution import (
    STYLE_TAPS,
    FeatureNetwork,
    channels_last,
    drawn_directions,
    style_distance,
    style_targets,
)

SMALLEST = 96
"""Pixels along a side: at half of it the coarsest layer has two places in a row; with one alone, several threads do not
give the same gradient twice."""


class DistributionMatching:
    """Mean distance of pictures from style pictures, at full and at half size.

    network: whose features are compared; styles: pictures (1, 3, H, W) in [-1, 1]; seed: of the directions along which
    distributions are compared, other ones in each step.
    """

    def __init__(self, network: FeatureNetwork, styles: Sequence[Tensor], seed: int) -> None:
        self._network, self._seed = network, seed
        self._targets = [style_targets(network, _large_enough(style)) for style in styles]

    def __call__(self, pictures: Tensor, step: int) -> Tensor:
        """Distance of pictures (B, 3, H, W) at a step: 0 only for the distribution that is the styles' mean."""
        pictures = _large_enough(pictures)
        chosen = drawn_directions(np.random.default_rng([self._seed, step]))
        found = self._network(channels_last(pictures), STYLE_TAPS)
        distances = [
            style_distance(self._network, pictures, found, [target] * len(pictures), chosen) for target in self._targets
        ]
        return torch.stack(distances).mean()


def _large_enough(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) with no side below SMALLEST: mirrored, which hardly changes a distribution."""
    for dimension in (2, 3):
        while pictures.shape[dimension] < SMALLEST:
            pictures = torch.cat([pictures, pictures.flip(dimension)], dimension)
    return pictures
