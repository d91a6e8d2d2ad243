# SPDX-License-Identifier: Apache-2.0
"""How far pictures are from a style in the whole distribution of their colours and features, place left aside.

Sliced Wasserstein distance (Heitz et al., 2021, "A Sliced Wasserstein Loss for Neural Texture Synthesis"): features of
all positions are projected on directions and sorted, and the sorted values compared. Means and covariances alone (Gram
matrices) are met by even hatching of the right energy; strokes need the tails, too. What a network cannot meet it
paints too faintly, since the mean of all it might be is nearest: the strength of each feature is compared besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

FeatureNetwork = Callable[[Tensor, Sequence[int]], dict[int, Tensor]]
"""Features (B, C, h, w) of pictures (B, 3, H, W) in [-1, 1] by the layers that are named: SqueezeNet 1.1's, or a
teacher's perception, which is like it."""
STYLE_TAPS = (1, 4, 7, 9)
"""Layers whose features are compared, besides the colours of the picture itself."""
COLOURS = -1
"""Stands for the picture's own colours where taps are named."""
COLOUR_WEIGHT = 2.0
"""Of the colours beside one tap, in trainings."""
DIRECTIONS = 96
"""Fixed unit vectors for each tap; a training step looks along `SOME` of them."""
SOME = 24
BINS = 64
"""Sorted values are averaged to so many."""
MOST_POSITIONS = 4096
"""Of larger pictures every second or third row and column is looked at, which tells as much."""
STRENGTH_WEIGHT = 1.0
"""Of the strength of features beside their distribution."""
HALF_WEIGHT = 0.5
"""Of the style at half the size, where strokes are seen that are longer than what the features look at."""
LEAST_SQUARE = 1e-6
"""Below it, how strong a feature is does not matter: the root's gradient would grow without bound."""


@dataclass(frozen=True)
class Distribution:
    """What is compared, float32. projections: by tap, colours among them, sorted values (1, DIRECTIONS, BINS) along
    every direction; strengths: by tap, the root mean square (1, C) of each feature.
    """

    projections: Mapping[int, Tensor]
    strengths: Mapping[int, Tensor]


StyleTargets = tuple[Distribution, Distribution]
"""Of a style's picture as it is, and at half the size."""


def style_distribution(network: FeatureNetwork, picture: Tensor) -> Distribution:
    """What pictures are to come near to: the distribution of a style's picture (1, 3, H, W) in [-1, 1]."""
    with torch.no_grad():
        return distribution_of(picture, network(channels_last(picture), STYLE_TAPS))


def distribution_of(picture: Tensor, found: Mapping[int, Tensor]) -> Distribution:
    """Of a picture (1, 3, H, W) and of its features by STYLE_TAPS."""
    every = range(DIRECTIONS)
    return Distribution(
        {tap: _sorted(_features(tap, picture, found), tap, every) for tap in (COLOURS, *STYLE_TAPS)},
        {tap: _strength(found[tap]) for tap in STYLE_TAPS},
    )


def style_targets(network: FeatureNetwork, picture: Tensor) -> StyleTargets:
    """Of a style's picture (1, 3, H, W) in [-1, 1], and of it at half the size."""
    return style_distribution(network, picture), style_distribution(network, halved(picture))


def style_distance(
    network: FeatureNetwork,
    painted: Tensor,
    found: Mapping[int, Tensor],
    targets: Sequence[StyleTargets],
    chosen: Sequence[int],
) -> Tensor:
    """Distances (B,) of pictures (B, 3, S, S) from the styles of one target each, at full and at half size.

    found: the pictures' features by STYLE_TAPS; chosen: directions to look along, below DIRECTIONS.
    """
    full, half = zip(*targets, strict=True)
    smaller = channels_last(halved(painted))
    at_half = distribution_distance(smaller, network(smaller, STYLE_TAPS), half, chosen)
    return distribution_distance(painted, found, full, chosen) + HALF_WEIGHT * at_half


def halved(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) at half the size, float32; a last odd row or column is left out."""
    return F.avg_pool2d(pictures.float(), 2)


def distribution_distance(
    pictures: Tensor,
    found: Mapping[int, Tensor],
    targets: Sequence[Distribution],
    chosen: Sequence[int],
    colour_weight: float = COLOUR_WEIGHT,
) -> Tensor:
    """Distances (B,) of pictures (B, 3, H, W) from one target each; 0 when equal.

    found: their features by STYLE_TAPS; chosen: indices of the directions that are compared, below DIRECTIONS;
    colour_weight: of the colours beside one tap. Squared differences of sorted values, relative to the target's
    variance, and of strengths, relative to the target's.
    """
    total = torch.zeros(len(targets))
    for tap in (COLOURS, *STYLE_TAPS):
        own = _sorted(_features(tap, pictures, found), tap, chosen)
        wanted = torch.cat([target.projections[tap][:, list(chosen)] for target in targets])
        variance = (wanted - wanted.mean(dim=2, keepdim=True)).square().mean(dim=(1, 2)).clamp(min=1e-6)
        weight = colour_weight if tap == COLOURS else 1.0
        total = total + weight * (own - wanted).square().mean(dim=(1, 2)) / variance
    return total / (1 + len(STYLE_TAPS)) + STRENGTH_WEIGHT * _strength_distance(found, targets)


def drawn_directions(random: np.random.Generator) -> list[int]:
    """`SOME` of the directions, by their indices."""
    return [int(index) for index in random.choice(DIRECTIONS, SOME, replace=False)]


def _strength_distance(found: Mapping[int, Tensor], targets: Sequence[Distribution]) -> Tensor:
    """Mean over taps, (B,)."""
    total = torch.zeros(len(targets))
    for tap in STYLE_TAPS:
        wanted = torch.cat([target.strengths[tap] for target in targets])
        total = total + (_strength(found[tap]) - wanted).square().sum(1) / wanted.square().sum(1)
    return total / len(STYLE_TAPS)


def _strength(features: Tensor) -> Tensor:
    """Root mean square of each channel: (B, C, H, W) -> (B, C) float32."""
    positions = features.permute(0, 2, 3, 1).flatten(1, 2)
    # In the features' own precision, and not by square(): its gradient is by far the slowest part of this loss.
    return (positions * positions).mean(dim=1, dtype=torch.float32).clamp(min=LEAST_SQUARE).sqrt()


def _features(tap: int, pictures: Tensor, found: Mapping[int, Tensor]) -> Tensor:
    return pictures if tap == COLOURS else found[tap]


def _sorted(features: Tensor, tap: int, chosen: Sequence[int]) -> Tensor:
    """Features (B, C, H, W) along some directions, from the least to the largest: (B, len(chosen), BINS)."""
    stride = math.ceil((features[0, 0].numel() / MOST_POSITIONS) ** 0.5)
    positions = features[:, :, ::stride, ::stride].flatten(2).transpose(1, 2).float()
    along = (positions @ _directions(tap, features.shape[1])[list(chosen)].T).transpose(1, 2).float().contiguous()
    order = np.argsort(along.detach().numpy(), axis=2)  # NumPy's is several times as fast as PyTorch's
    return F.adaptive_avg_pool1d(along.gather(2, torch.from_numpy(order)), BINS)


@cache
def _directions(tap: int, channels: int) -> Tensor:
    """Unit vectors (DIRECTIONS, channels), the same in every run."""
    generator = torch.Generator().manual_seed(1000 * (tap + 1) + channels)
    directions = torch.randn(DIRECTIONS, channels, generator=generator)
    return directions / directions.norm(dim=1, keepdim=True)


def channels_last(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in the memory layout in which convolutions are fastest."""
    return pictures.contiguous(memory_format=torch.channels_last)
