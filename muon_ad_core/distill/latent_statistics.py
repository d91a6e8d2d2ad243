# SPDX-License-Identifier: Apache-2.0
"""Means and deviations of a latent's channels, by region: what attention features cannot tell.

A teacher normalises its features, so that its attentions hardly see a picture's contrast, palette and grain. In a
latent of frequencies these are each channel's first two moments. StyleID (Chung et al., 2024) sets them once, at the
start; here they are a part of the style loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_DEVIATION = 1e-3
ONE_REGION = 0


@dataclass(frozen=True)
class ChannelMoments:
    """Mean and standard deviation (C,) over positions."""

    mean: Tensor
    deviation: Tensor


def channel_moments(latents: Sequence[Tensor], labels: Sequence[Tensor] | None = None) -> dict[int, ChannelMoments]:
    """Moments of latents (B, C, h, w), all positions of all of them together, by region.

    labels: for each latent those of its positions (h * w,); None for one region, ONE_REGION.
    """
    positions = torch.cat([latent.transpose(0, 1).flatten(1) for latent in latents], dim=1)
    if labels is None:
        return {ONE_REGION: _moments(positions)}
    joined = torch.cat(list(labels))
    return {int(label): _moments(positions[:, joined == label]) for label in joined.unique()}


def moment_difference(found: Mapping[int, ChannelMoments], wanted: Mapping[int, ChannelMoments]) -> Tensor:
    """Mean over channels of the differences of both moments in units of the wanted deviation, mean over regions.

    A region that `wanted` lacks is left out; 0 where none is common.
    """
    parts = []
    for label, moments in found.items():
        if label in wanted:
            target = wanted[label]
            difference = (moments.mean - target.mean).abs() + (moments.deviation - target.deviation).abs()
            parts.append((difference / target.deviation.clamp(min=SMALLEST_DEVIATION)).mean())
    return torch.stack(parts).mean() if parts else next(iter(found.values())).mean.new_zeros(())


def _moments(positions: Tensor) -> ChannelMoments:
    """Of (C, N); the root's gradient is finite where a channel is constant."""
    variance, mean = torch.var_mean(positions.float(), dim=1, correction=0)
    return ChannelMoments(mean, (variance + SMALLEST_DEVIATION**2).sqrt())
