# SPDX-License-Identifier: Apache-2.0
"""Pruning while training: channels are silenced little by little as the retention schedule allows, then removed.

A silenced channel writes zeros, so that removing it changes nothing in the network's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.compress.channel_groups import ChannelGroup, RemovableGroups
from muon_ad_core.compress.importance import group_scores
from muon_ad_core.compress.retention import phase, retention

LEAST_IMPORTANCE = 0.03
PHASE_FACTORS = (-1.5, 0.5, 1.2)
"""k of the curriculum's phases: channels below mean + k * deviation of their group may go."""


class ChannelPruner:
    """Which channels of a network are silenced; each stays so once it is.

    targets: {group name: channels kept at the end}, 0 for a group whose reader adds to a skip: with nothing to read it
    is to go as a whole (`dissolved`).
    """

    def __init__(self, groups: RemovableGroups, targets: Mapping[str, int]) -> None:
        self._groups = groups
        self._targets = dict(targets)
        self.kept = {group.name: torch.ones(group.width, dtype=torch.bool) for group in groups.groups}

    def choose(self, scores: Mapping[str, Tensor], progress: float) -> None:
        """Silence the least important channels, as many as `progress` (0..1) allows; all of them at 1.

        scores: {layer name: (channels,)}. A channel goes when it is below its group's threshold (0.03, and mean +
        k * deviation by phase), but no more of them than the retention schedule lets go by now; at the end the
        schedule alone decides.
        """
        for group in self._groups.groups:
            importance = group_scores(group, scores)
            above = int((importance > _threshold(importance, progress)).sum())
            target = self._targets[group.name]
            allowed = target if progress >= 1 else round(group.width * retention(progress, target / group.width))
            self._keep_best(group, importance, max(target, allowed, above if progress < 1 else 0))

    def silence(self, network: nn.Module) -> None:
        """Make the silenced channels of `network` write zeros: after each update, and before removal."""
        for group in self._groups.groups:
            silence(network, group, self.kept[group.name])

    def dissolved(self) -> list[ChannelGroup]:
        """Groups of which no channel is left."""
        return [group for group in self._groups.groups if not self.kept[group.name].any()]

    def remove(self) -> None:
        """Remove the silenced channels of all groups but the dissolved ones from the network that the groups are of."""
        for group in self._groups.groups:
            if self.kept[group.name].any():
                self._groups.remove(group, (~self.kept[group.name]).nonzero().flatten().tolist())

    def state_dict(self) -> dict[str, Any]:
        return {"targets": self._targets, "kept": self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._targets, self.kept = dict(state["targets"]), dict(state["kept"])

    def _keep_best(self, group: ChannelGroup, importance: Tensor, count: int) -> None:
        before = self.kept[group.name]
        if count >= int(before.sum()):
            return
        best = importance.masked_fill(~before, -1.0).topk(count).indices
        self.kept[group.name] = torch.zeros_like(before).index_fill_(0, best, True)


def silence(network: nn.Module, group: ChannelGroup, kept: Tensor) -> None:
    """Make a group's channels that are not `kept` (bool) write zeros."""
    for name in (*group.layers, *group.norms):
        _zero(network.get_submodule(name), kept)


def _threshold(importance: Tensor, progress: float) -> float:
    factor = PHASE_FACTORS[phase(progress) - 1]
    return max(LEAST_IMPORTANCE, float(importance.mean() + factor * importance.std()))


@torch.no_grad()
def _zero(layer: nn.Module, kept: Tensor) -> None:
    for parameter in layer.parameters():
        # A modulation holds several numbers for each channel, all channels' first ones before the second ones.
        parameter[~kept.repeat(len(parameter) // len(kept))] = 0.0
