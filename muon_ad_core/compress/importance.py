# SPDX-License-Identifier: Apache-2.0
"""Importance of channels: how much a network's answer leans on what each convolution writes.

Scores are (channels,) tensors, min-max scaled to 0..1 in each layer, so that layers can be summed and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.compress.channel_groups import ChannelGroup

SQUARES_DECAY = 0.99
EPSILON = 1e-8


class GradientImportance:
    """Scores from the gradients of a training, gathered update by update.

    A weight's score is S = |g| / (sqrt(EMA(g^2)) + eps) + decay * W^2 (the paper's importance, section on pruning): how
    steadily the loss pulls at it. A layer's channels get the mean over their weights and over the updates.
    weight_decay: of the optimiser that trains the layers.
    """

    def __init__(self, layers: Iterable[tuple[str, nn.Conv2d]], weight_decay: float) -> None:
        self._weights = {name: layer.weight for name, layer in layers}
        self._weight_decay = weight_decay
        self._squares = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._sums = {name: torch.zeros(len(weight)) for name, weight in self._weights.items()}
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the gradients that the last backward pass left."""
        self._updates += 1
        correction = 1 - SQUARES_DECAY**self._updates
        for name, weight in self._weights.items():
            gradient = weight.grad
            if gradient is None:
                continue
            squares = self._squares[name].lerp_(gradient.square(), 1 - SQUARES_DECAY)
            score = gradient.abs() / ((squares / correction).sqrt() + EPSILON)
            score = score + self._weight_decay * weight.square()
            self._sums[name] += score.flatten(1).mean(1)

    def scores(self) -> dict[str, Tensor]:
        """{layer name: (channels,) in 0..1}, the mean over the updates; raises ValueError before the first."""
        if not self._updates:
            raise ValueError("no gradient has been seen yet")
        return {name: scaled(total) for name, total in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"squares": self._squares, "sums": self._sums, "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._squares, self._sums, self._updates = state["squares"], state["sums"], state["updates"]


def magnitude(layers: Iterable[tuple[str, nn.Conv2d]]) -> dict[str, Tensor]:
    """Scores by the L2 norm of each filter (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017)."""
    return {name: scaled(layer.weight.detach().flatten(1).norm(dim=1)) for name, layer in layers}


def random(layers: Iterable[tuple[str, nn.Conv2d]], seed: int) -> dict[str, Tensor]:
    """Scores by lot: what any method must beat."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(layer.out_channels, generator=generator) for name, layer in layers}


def group_scores(group: ChannelGroup, scores: Mapping[str, Tensor]) -> Tensor:
    """Importance (channels,) of a group's channels, 0..1: the sum over the layers that write them, scaled."""
    return scaled(torch.stack([scores[layer] for layer in group.layers]).sum(0))


def scaled(scores: Tensor) -> Tensor:
    """Min-max scaling to 0..1; all 1 where all are equal."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else torch.ones_like(scores)
