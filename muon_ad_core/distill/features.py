# SPDX-License-Identifier: Apache-2.0
"""SqueezeNet 1.1 as the feature network of perceptual losses; weights are read from a path the user gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from muon_ad_core.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and 3x3 convolutions side by side (Iandola et al., 2016)."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        squeezed = F.relu(self.squeeze(features))
        return torch.cat([F.relu(self.expand1x1(squeezed)), F.relu(self.expand3x3(squeezed))], dim=1)


class SqueezeNetFeatures(nn.Module):
    """The convolutional part of SqueezeNet 1.1 under torchvision's parameter names, frozen."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()

        def pool() -> nn.Module:
            return nn.MaxPool2d(3, 2, ceil_mode=True)

        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(),
            Fire(64, 16, 64), Fire(128, 16, 64), pool(),
            Fire(128, 32, 128), Fire(256, 32, 128), pool(),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, picture: Tensor, taps: Sequence[int]) -> dict[int, Tensor]:
        """Features after the layers named by `taps` of pictures (B, 3, H, W) in [-1, 1]."""
        features = ((picture + 1) / 2 - self.mean) / self.deviation
        found = {}
        for index in range(max(taps) + 1):
            features = self.features[index](features)
            if index in taps:
                found[index] = features
        return found


def load_feature_network(path: Path) -> SqueezeNetFeatures:
    """Read SqueezeNet 1.1 weights (safetensors, torchvision's names); raises UserError when it cannot."""
    if not path.is_file():
        raise UserError(f"no feature network at {path}: give SqueezeNet 1.1 weights (safetensors) by --features")
    network = SqueezeNetFeatures()
    weights = {name: tensor.float() for name, tensor in load_file(path).items() if name.startswith("features.")}
    missing, unexpected = network.load_state_dict(weights, strict=False)
    missing = [name for name in missing if name.startswith("features.")]
    if missing or unexpected:
        raise UserError(f"{path} does not hold SqueezeNet 1.1 under torchvision's names (first odd name: "
                        f"{(missing + list(unexpected))[0]})")  # fmt: skip
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
