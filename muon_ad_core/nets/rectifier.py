# SPDX-License-Identifier: Apache-2.0
"""ReLU that a training may lend a slope below zero, so that no unit dies for good."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Rectifier(nn.Module):
    """ReLU, or leaky ReLU (Maas et al., 2013) while `slope` is not 0; the slope is no part of a network's state."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = 0.0

    def forward(self, features: Tensor) -> Tensor:
        return F.leaky_relu(features, self.slope) if self.slope else F.relu(features)


def set_slope(network: nn.Module, slope: float) -> None:
    """Give all rectifiers of a network a slope below zero, 0..1."""
    for module in network.modules():
        if isinstance(module, Rectifier):
            module.slope = slope
