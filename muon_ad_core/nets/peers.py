# SPDX-License-Identifier: Apache-2.0
"""Networks of others to compare speed with, by their published architecture; their weights are random here."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ReflectedConvolution(nn.Module):
    """A convolution after reflection padding and, where asked, nearest-neighbour upsampling."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, upsample: int = 1) -> None:
        super().__init__()
        self.upsample = upsample
        self.padding = nn.ReflectionPad2d(kernel // 2)
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, features: Tensor) -> Tensor:
        if self.upsample > 1:
            features = F.interpolate(features, scale_factor=float(self.upsample), mode="nearest")
        return self.convolution(self.padding(features))


class NormalisedResidual(nn.Module):
    """Two convolutions with instance normalisation, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (ReflectedConvolution(channels, channels, 3) for _ in range(2))
        self.first_norm, self.second_norm = (nn.InstanceNorm2d(channels, affine=True) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.relu(self.first_norm(self.first(features)))
        return features + self.second_norm(self.second(hidden))


def johnson_network() -> nn.Module:
    """Fast style transfer (Johnson et al., 2016) with instance normalisation, as in pytorch/examples: 1.68 M weights.

    Pictures (B, 3, H, W) in 0..255 -> the same.
    """
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride in ((3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 2)):
        layers += [ReflectedConvolution(inputs, outputs, kernel, stride), nn.InstanceNorm2d(outputs, affine=True)]
        layers += [nn.ReLU()]
    layers += [NormalisedResidual(128) for _ in range(5)]
    for inputs, outputs in ((128, 64), (64, 32)):
        layers += [ReflectedConvolution(inputs, outputs, 3, upsample=2), nn.InstanceNorm2d(outputs, affine=True)]
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, ReflectedConvolution(32, 3, 9))


def micro_ast_network() -> nn.Module:
    """A network of the shape of MicroAST (Wang et al., 2023): its content path, about 10 GMAC at 512 x 512.

    The style's modulation, which its authors compute once a style, is part of the normalisations.
    """
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride in ((3, 16, 9, 1), (16, 32, 3, 2), (32, 64, 3, 2)):
        layers += [ReflectedConvolution(inputs, outputs, kernel, stride), nn.ReLU()]
    layers += [NormalisedResidual(64) for _ in range(4)]
    for inputs, outputs in ((64, 32), (32, 16)):
        layers += [ReflectedConvolution(inputs, outputs, 3, upsample=2), nn.ReLU()]
    return nn.Sequential(*layers, ReflectedConvolution(16, 3, 9))


class FrameNetwork(nn.Module):
    """A network as it is timed: uint8 NHWC in and out, so that no peer pays for conversions in Python."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor) -> Tensor:
        painted = self.network(frame.permute(0, 3, 1, 2).to(torch.float32))
        return painted.clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8)
