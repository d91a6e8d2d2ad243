# SPDX-License-Identifier: Apache-2.0
"""Style encoder: one picture to one style code, from feature statistics at several depths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muon_ad_core.nets.rectifier import Rectifier

ENCODER_SIZE = 256
"""Side in pixels of the square picture that the encoder reads."""


class StyleEncoder(nn.Module):
    """Five strided convolutions; mean and standard deviation of every stage feed a small perceptron.

    Style is what survives spatial pooling (Huang & Belongie, 2017), so no other spatial information is kept.
    """

    def __init__(self, code: int = 64, widths: tuple[int, ...] = (24, 48, 64, 96, 128)) -> None:
        super().__init__()
        self.code = code
        inputs = (3, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in zip(inputs, widths, strict=True)
        )
        self.hidden = nn.Linear(2 * (3 + sum(widths)), 256)
        self.output = nn.Linear(256, code)
        self.rectify = Rectifier()

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures (B, 3, ENCODER_SIZE, ENCODER_SIZE) in [-1, 1] -> codes (B, code)."""
        features = picture
        statistics = [*_moments(features)]
        for stage in self.stages:
            features = self.rectify(stage(features))
            statistics += _moments(features)
        return self.output(self.rectify(self.hidden(torch.cat(statistics, dim=1))))


class PackedStyleEncoder(nn.Module):
    """The encoder as it is exported: uint8 NHWC picture in, float32 code out."""

    def __init__(self, encoder: StyleEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> Tensor:
        return self.encoder(picture.to(torch.float32).permute(0, 3, 1, 2) * (1 / 127.5) - 1)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    mean = features.mean(dim=(2, 3))
    variance = (features - mean[:, :, None, None]).square().mean(dim=(2, 3))
    return mean, (variance + 1e-5).sqrt()
