# SPDX-License-Identifier: Apache-2.0
"""A picture as a sum of levels, each half the size of the one before: what is optimised in place of plain pixels.

Steps on coarse levels move whole strokes at once and steps on fine ones their edges; on plain pixels a loss of small
receptive fields is met by speckle.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

SLOPE_OUTSIDE = 0.05
"""Of the colour range: colours saturate there, and a little slope leads them back."""
START_NOISE = 0.3
"""Deviation of the noise that an optimisation begins with, of colours in [-1, 1]."""


def render(levels: Sequence[Tensor]) -> Tensor:
    """The picture (B, 3, H, W), [-1, 1] but for the slope outside, of levels from fine to coarse."""
    picture = levels[-1]
    for level in reversed(levels[:-1]):
        picture = level + _enlarge(picture, level)
    clamped = picture.clamp(-1, 1)
    return clamped + SLOPE_OUTSIDE * (picture - clamped)


def split(picture: Tensor, count: int) -> list[Tensor]:
    """`count` levels of a picture (B, 3, H, W) in [-1, 1]; render() gives it back. Sides halve, rounded up."""
    levels = []
    for _ in range(count - 1):
        coarse = shrink(picture)
        levels.append(picture - _enlarge(coarse, picture))
        picture = coarse
    return [*levels, picture]


def starting_pyramid(content: Tensor | None, size: tuple[int, int], seed: int) -> list[Tensor]:
    """What an optimisation of pixels begins with: the content (1, 3, H, W) with noise, or noise at every level.

    size: (height, width). Noise gives flat regions something to grow strokes from.
    """
    generator = torch.Generator().manual_seed(seed)
    count = level_count(*size)
    noise = torch.randn((1, 3, *size), generator=generator)
    if content is not None:
        return split(content + START_NOISE * noise, count)
    return [START_NOISE * torch.randn(x.shape, generator=generator) for x in split(torch.zeros_like(noise), count)]


def shrink(picture: Tensor) -> Tensor:
    """Half the size, rounded up, by averaging."""
    return F.avg_pool2d(picture, 2, ceil_mode=True)


def soften(picture: Tensor) -> Tensor:
    """Blurred by the binomial filter of 9 x 9 pixels; what single bright pixels could tell a network is gone."""
    weights = picture.new_tensor([1.0, 8.0, 28.0, 56.0, 70.0, 56.0, 28.0, 8.0, 1.0]) / 256
    margin, channels = len(weights) // 2, picture.shape[1]
    padded = F.pad(picture, (margin,) * 4, mode="reflect")
    down = F.conv2d(padded, weights[:, None].expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(down, weights.expand(channels, 1, 1, -1), groups=channels)


def level_count(height: int, width: int, smallest: int = 16) -> int:
    """Levels until the shorter side of the coarsest one would fall below `smallest`; at least 1."""
    count = 1
    while min(height, width) >= 2 * smallest:
        height, width, count = height // 2, width // 2, count + 1
    return count


def refine(levels: Sequence[Tensor], picture: Tensor | None, size: tuple[int, int]) -> list[Tensor]:
    """The same picture at twice the size (height, width): one level more, with the detail of `picture` or none."""
    detail = torch.zeros(1, 3, *size) if picture is None else picture - _enlarge(shrink(picture), picture)
    return [detail, *(level.detach().clone() for level in levels)]


def _enlarge(picture: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(picture, like.shape[2:], mode="bilinear", align_corners=False)
