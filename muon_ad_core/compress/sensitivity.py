# SPDX-License-Identifier: Apache-2.0
"""How much a network needs each channel group: its loss with the group silenced, half and whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from muon_ad_core.compress.allocation import Curve, halved
from muon_ad_core.compress.channel_groups import ChannelGroup
from muon_ad_core.compress.importance import group_scores
from muon_ad_core.compress.pruning import silence

Network = TypeVar("Network", bound=nn.Module)


def sensitivity_curves(
    network: Network,
    groups: Sequence[ChannelGroup],
    scores: Mapping[str, Tensor],
    dissolvable: Iterable[str],
    loss: Callable[[Network], float],
    widths: Callable[[int], Sequence[int]] = lambda width: [halved(width)] if halved(width) else [],
) -> dict[str, Curve]:
    """{group name: its curve} of the loss with the least important channels silenced.

    scores: {layer name: (channels,)}; dissolvable: names of groups that may lose all channels; loss: of a network in
    training mode, after it has seen enough for its batch normalisations to settle (their averages are reset before);
    widths: those to try of a group of some width, falling, without 0.
    """
    whole = loss(_settling(network))
    curves: dict[str, Curve] = {}
    for group in groups:
        tried = [*widths(group.width), *([0] if group.name in dissolvable else [])]
        order = group_scores(group, scores).argsort(descending=True)
        curve = [(group.width, whole)]
        for width in tried:
            kept = torch.zeros(group.width, dtype=torch.bool).index_fill_(0, order[:width], True)
            narrowed = _settling(network)
            silence(narrowed, group, kept)
            curve.append((width, loss(narrowed)))
        curves[group.name] = curve
    return curves


def _settling(network: Network) -> Network:
    """A copy in training mode whose batch normalisations average what they see from now on, all alike."""
    clone = copy.deepcopy(network).train()
    for module in clone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    return clone
