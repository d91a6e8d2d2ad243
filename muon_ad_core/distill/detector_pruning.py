# SPDX-License-Identifier: Apache-2.0
"""Prunes a DetectorNet: which channels and blocks go, and the shape that is left.

What the stages hand on to each other and the pyramid stay whole: everything reads them, and the pyramid is compared
with a teacher's features. Removable are the channels inside the residual blocks, down to none, and those of the towers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.compress import importance
from muon_ad_core.compress.allocation import Widths, channel_costs, cheapest_widths, evenly_spaced, uniform_widths
from muon_ad_core.compress.channel_groups import ChannelGroup, ChannelGroups
from muon_ad_core.compress.export import layer_macs
from muon_ad_core.compress.pruning import ChannelPruner
from muon_ad_core.compress.sensitivity import sensitivity_curves
from muon_ad_core.distill.detector_trainer import DetectorTrainer
from muon_ad_core.distill.gradual_pruning import GradualPruning, check_pruning, convolutions
from muon_ad_core.nets.detector import INPUT_BLOCK, DetectorNet, DetectorShape

SETTLING_BATCHES, JUDGING_BATCHES = 6, 4
TRACED_SIDE = 64

Block = tuple[int, int]
"""Stage and number of a residual block."""


@dataclass(frozen=True)
class DetectorPruning:
    """What to prune.

    Attributes:
        rate: share of the multiply-accumulates that goes at least, 0 < rate < 1, as far as there is enough to remove.
        method: of `gradual.METHODS`.
    """

    rate: float
    method: str = "gradual"

    def __post_init__(self) -> None:
        check_pruning(self.rate, self.method)


class DetectorGradualPruning(GradualPruning[DetectorNet]):
    """Follows a trainer's run, see `GradualPruning`; rate: as of `DetectorPruning`."""

    def __init__(self, trainer: DetectorTrainer, rate: float) -> None:
        super().__init__(trainer, channel_groups(trainer.network), trainer.recipe.weight_decay)
        self._detector_trainer = trainer
        self._rate = rate

    def plan(self, scores: Mapping[str, Tensor]) -> Widths:
        network, groups = self.trainer.network, self.groups.groups
        dissolvable = [group.name for group in groups if group.name.startswith("stages.")]
        curves = sensitivity_curves(network, groups, scores, dissolvable, self._loss_once_settled)
        macs = layer_macs(network, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE))
        return cheapest_widths(curves, channel_costs(groups, macs), self._rate * sum(macs.values()))

    def dissolve(self, network: DetectorNet, group: ChannelGroup) -> None:
        stage, block = _block_of(group)
        norm = network.get_submodule(f"stages.{stage}.{block + 1}.second.norm")
        for parameter in norm.parameters():  # else it goes on adding a constant
            parameter.data.zero_()

    def rebuild(self, network: DetectorNet, dissolved: list[ChannelGroup]) -> DetectorNet:
        return without_blocks(network, {_block_of(group) for group in dissolved})

    @torch.no_grad()
    def _loss_once_settled(self, network: DetectorNet) -> float:
        """The loss of a network whose batch normalisations have yet to settle."""
        trainer = self._detector_trainer
        recipe = trainer.recipe
        total = 0.0
        for index in range(SETTLING_BATCHES + JUDGING_BATCHES):
            network.train(index < SETTLING_BATCHES)
            batch = trainer.lesson.batch(recipe.seed + 1, index, recipe.batch, recipe.size, 0.0)
            loss = trainer.losses(batch, network)["total"]
            total += float(loss) if index >= SETTLING_BATCHES else 0.0
        return total / JUDGING_BATCHES


def prune_at_once(network: DetectorNet, pruning: DetectorPruning, seed: int) -> DetectorNet:
    """The network after one of the methods that look at the weights only, or at nothing; `network` is used up."""
    if pruning.method == "layerdrop":
        return drop_blocks(network, pruning.rate)
    if pruning.method == "magnitude":
        scores = importance.magnitude(convolutions(network))
    else:
        scores = importance.random(convolutions(network), seed)
    groups = channel_groups(network)
    macs = layer_macs(network, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE))
    costs = channel_costs(groups.groups, macs)
    pruner = ChannelPruner(groups, uniform_widths(groups.groups, costs, pruning.rate * sum(macs.values())))
    pruner.choose(scores, 1.0)
    pruner.remove()
    return rebuilt(network)


def drop_blocks(network: DetectorNet, rate: float) -> DetectorNet:
    """Residual blocks at even distances taken out, just enough of them (Fan et al., "LayerDrop", ICLR 2020)."""
    places = [(stage, block) for stage, count in enumerate(network.shape.blocks) for block in range(count)]
    macs = layer_macs(network, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE))
    dropped: set[Block] = set()
    for count in range(1, len(places) + 1):
        dropped = set(evenly_spaced(places, count))
        parts = tuple(f"stages.{stage}.{block + 1}." for stage, block in dropped)
        if sum(each for name, each in macs.items() if name.startswith(parts)) >= rate * sum(macs.values()):
            break
    return without_blocks(network, dropped)


def without_blocks(network: DetectorNet, dropped: Collection[Block]) -> DetectorNet:
    """The network without some of its residual blocks; `network` is used up."""
    bodies: list[Any] = list(network.stages)
    for stage, body in enumerate(bodies):
        kept = [part for block, part in enumerate(body[1:]) if (stage, block) not in dropped]
        network.stages[stage] = nn.Sequential(body[0], *kept)
    return rebuilt(network)


def channel_groups(network: DetectorNet) -> ChannelGroups:
    """What can be removed: see the top of this module."""
    bodies: list[Any] = list(network.stages)
    keep: list[Any] = [network.stem.conv, network.class_head, network.box_head]
    keep += [module for name, module in network.laterals.named_modules() if isinstance(module, nn.Conv2d)]
    for body in bodies:
        keep += [body[0].conv, *(block.second.conv for block in body[1:])]
    return ChannelGroups(network, _example(), _head_maps, keep)


def rebuilt(network: DetectorNet) -> DetectorNet:
    """A new DetectorNet with the widths and the weights of one whose layers were changed."""
    fresh = DetectorNet(_shape_of(network))
    fresh.load_state_dict(network.state_dict())
    return fresh


def _shape_of(network: DetectorNet) -> DetectorShape:
    bodies: list[Any] = list(network.stages)
    stages = [list(body) for body in bodies]
    towers: list[Any] = [network.class_towers[0], network.box_towers[0]]
    return replace(
        network.shape,
        blocks=_three(len(stage) - 1 for stage in stages),
        inner=tuple(tuple(block.first.conv.out_channels for block in stage[1:]) for stage in stages),
        towers=tuple(tower.conv.out_channels for tower in towers),
    )


def _three(values: Iterable[int]) -> tuple[int, int, int]:
    first, second, third = values
    return first, second, third


def _block_of(group: ChannelGroup) -> Block:
    _, stage, place, *_ = group.name.split(".")
    return int(stage), int(place) - 1


def _example() -> Tensor:
    side = TRACED_SIDE // INPUT_BLOCK
    return torch.zeros(1, 3 * INPUT_BLOCK**2, side, side)


def _head_maps(network: DetectorNet, packed: Tensor) -> list[Tensor]:
    """The heads' outputs as maps: rows of locations would hide the channels from the graph."""
    features = network.features(packed)
    scores = [network.class_head(tower(feature)) for tower, feature in zip(network.class_towers, features)]
    return scores + [network.box_head(tower(feature)) for tower, feature in zip(network.box_towers, features)]
