# SPDX-License-Identifier: Apache-2.0
"""A style's distribution of colours and of perceptual features as a loss, wherever in the picture they are.

Patches tell what lies beside what within some pixels, and what flat regions find are flat patches; the distribution
tells how much of everything a picture in this style has (`feature_distribution`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.distill.feature_distribution import (
    HALF_WEIGHT,
    STYLE_TAPS,
    Distribution,
    FeatureNetwork,
    channels_last,
    distribution_distance,
    distribution_of,
    drawn_directions,
    halved,
)

SMALLEST = 96
"""Pixels along a side: at half of it the coarsest layer has two places in a row; with one alone, several threads do not
give the same gradient twice."""
COLOUR_WEIGHT = 8.0
"""Of the colours beside one tap; with 2, as in trainings, patches came out 12 % and Gram matrices 6 % farther."""
EVERYWHERE = 0
"""Label of pictures that have no regions."""


@dataclass(frozen=True)
class _Seen:
    """Pictures (B, 3, H, W) of one size and their features by tap."""

    pictures: Tensor
    features: Mapping[int, Tensor]

    def region(self, labels: Tensor, label: int) -> _Seen:
        """What lies in a region, in a row (B, C, 1, n); labels: (H, W), among which the label is."""
        inside = (labels == label)[None, None].float()
        return _Seen(
            _picked(self.pictures, inside), {tap: _picked(found, inside) for tap, found in self.features.items()}
        )


class DistributionMatching:
    """Mean distance of pictures from style pictures, at full and at half size, in each region.

    network: whose features are compared; styles: pictures (1, 3, H, W) in [-1, 1]; seed: of the directions along which
    distributions are compared, other ones in each step; labels: regions (H, W) of every style picture.
    """

    def __init__(
        self, network: FeatureNetwork, styles: Sequence[Tensor], seed: int, labels: Sequence[Tensor] | None = None
    ) -> None:
        self._network, self._seed = network, seed
        self._targets: dict[int, list[list[Distribution]]] = {}
        for index, style in enumerate(styles):
            with torch.no_grad():
                style = large_enough(style)
                found = network(channels_last(style), STYLE_TAPS)
                regions = self._regions(style, found, None if labels is None else labels[index])
                for label, (views, _) in regions.items():
                    targets = [distribution_of(view.pictures, view.features) for view in views]
                    self._targets.setdefault(label, []).append(targets)

    def __call__(
        self, pictures: Tensor, found: Mapping[int, Tensor], step: int, labels: Tensor | None = None
    ) -> Tensor:
        """Distance of pictures (B, 3, H, W) at a step: 0 only for the distribution that is the styles' mean.

        pictures: with no side below SMALLEST (`large_enough`); found: their features by STYLE_TAPS; labels: regions
        (H, W), each of which the styles have; they count by their size.
        """
        chosen = drawn_directions(np.random.default_rng([self._seed, step]))
        total = torch.zeros(())
        for label, (views, share) in self._regions(pictures, found, labels).items():
            styles = self._targets[label]
            for view, weight, targets in zip(views, (1.0, HALF_WEIGHT), zip(*styles, strict=True), strict=True):
                for target in targets:
                    wanted = [target] * len(pictures)
                    distances = distribution_distance(view.pictures, view.features, wanted, chosen, COLOUR_WEIGHT)
                    total = total + share * weight * distances.mean() / len(targets)
        return total

    def _regions(
        self, pictures: Tensor, found: Mapping[int, Tensor], labels: Tensor | None
    ) -> dict[int, tuple[list[_Seen], float]]:
        """By label: what is seen there, at full and at half size, and the region's share of the pictures."""
        smaller = halved(pictures)
        views = [_Seen(pictures, found), _Seen(smaller, self._network(channels_last(smaller), STYLE_TAPS))]
        if labels is None:
            return {EVERYWHERE: (views, 1.0)}
        labels = large_enough(labels[None, None])[0, 0]
        return {
            int(label): ([view.region(labels, label) for view in views], float((labels == label).float().mean()))
            for label in labels.unique()
        }


def large_enough(pictures: Tensor) -> Tensor:
    """Pictures (B, C, H, W) with no side below SMALLEST: mirrored, which hardly changes a distribution."""
    for dimension in (2, 3):
        while pictures.shape[dimension] < SMALLEST:
            pictures = torch.cat([pictures, pictures.flip(dimension)], dimension)
    return pictures


def _picked(features: Tensor, inside: Tensor) -> Tensor:
    """Features (B, C, h, w) that lie mostly inside (1, 1, H, W) of 0 and 1, or those that do most: (B, C, 1, n)."""
    rows, columns = features.shape[2:]
    share = F.adaptive_avg_pool2d(inside, (rows, columns))[0, 0]
    return features[:, :, share >= share.max().clamp(max=0.5)][:, :, None]
