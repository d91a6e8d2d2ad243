# SPDX-License-Identifier: Apache-2.0
"""The micro teacher's eye for what is finer than a token: convolutional features whose distribution tells style.

Its four stages stand for layers of SqueezeNet 1.1 that perceptual losses look at, and it is trained to have features
like theirs (`distill.perception_trainer`): strides, channels and where a feature lies are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

TAPS = (1, 4, 7, 9)
"""Layers of SqueezeNet 1.1 that the stages stand for, at 1/2, 1/4, 1/8 and 1/16 resolution."""
CHANNELS = (64, 128, 256, 384)
SQUEEZED = (32, 48, 64)
"""Channels inside the stages after the first."""
CONTRAST = 2.0
"""Pictures in [-1, 1] are multiplied by it: their deviation becomes about 1."""


class Perception(nn.Module):
    """Features at four strides; random weights (He et al., 2015) before it is trained."""

    def __init__(self) -> None:
        super().__init__()
        stages = [_rectified(_strided(3, CHANNELS[0]))]
        for inputs, inner, outputs in zip(CHANNELS, SQUEEZED, CHANNELS[1:], strict=False):
            stages.append(_rectified(_strided(inputs, inner), _dense(inner, inner), _dense(inner, outputs)))
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, picture: Tensor, taps: Sequence[int] = TAPS) -> dict[int, Tensor]:
        """Features (B, C, h, w), not negative, by those of TAPS that are named, of pictures (B, 3, H, W) in [-1, 1]."""
        features = (CONTRAST * picture).contiguous(memory_format=torch.channels_last)
        found = {}
        for tap, stage in zip(TAPS, self.stages, strict=True):
            features = stage(features)
            if tap in taps:
                found[tap] = features
        return found


def _strided(inputs: int, outputs: int) -> nn.Module:
    """Half the resolution, from places that have all their neighbours, as SqueezeNet does it."""
    return nn.Conv2d(inputs, outputs, 3, stride=2)


def _dense(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _rectified(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
