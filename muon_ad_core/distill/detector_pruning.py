# SPDX-License-Identifier: Apache-2.0
"""Prunes a DetectorNet: which channels and blocks go, and the shape that is left.

What the stages hand on to each other and the pyramid stay whole: everything reads them, and the pyramid is compared
with a teacher's features. Removable are the channels inside the residual blocks, down to none, and those of the towers.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.compress import importance
from muon_ad_core.compress.allocation import channel_costs, cheapest_widths, uniform_widths
from muon_ad_core.compress.channel_groups import ChannelGroup, ChannelGroups
from muon_ad_core.compress.export import layer_macs
from muon_ad_core.compress.pruning import ChannelPruner
from muon_ad_core.compress.sensitivity import sensitivity_curves
from muon_ad_core.distill.detector_trainer import DetectorTrainer
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import INPUT_BLOCK, DetectorNet, DetectorShape

METHODS = ("gradual", "magnitude", "random", "layerdrop")
GRADUAL_SHARE = 0.3
"""Of a run: the channels go during its first part, the rest trains what is left."""
FIRST_CHOICE = 20  # updates before gradients tell anything
CHOOSE_EVERY = 10
SETTLING_BATCHES, JUDGING_BATCHES = 6, 4
TRACED_SIDE = 64

Block = tuple[int, int]
"""Stage and number of a residual block."""


@dataclass(frozen=True)
class DetectorPruning:
    """What to prune.

    Attributes:
        rate: share of the multiply-accumulates that goes at least, 0 < rate < 1, as far as there is enough to remove.
        method: "gradual" (the project's: how much of each group by what the loss says of doing without it, which
            channels by importance from the training's gradients, little by little by the retention schedule), or at
            once and everywhere alike: "magnitude" (smallest filters), "random", "layerdrop" (whole blocks).
    """

    rate: float
    method: str = "gradual"

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UserError(f"the pruning rate must be between 0 and 1, not {self.rate:g}.")
        if self.method not in METHODS:
            raise UserError(f'unknown pruning method "{self.method}": choose {", ".join(METHODS)}.')


class GradualPruning:
    """Silences channels of a trainer's network over its run: call `after_step()` after each of its updates, and
    `finish()` at the end to remove them."""

    def __init__(self, trainer: DetectorTrainer, rate: float) -> None:
        self._trainer = trainer
        self._rate = rate
        self._groups = channel_groups(trainer.network)
        self._importance = importance.GradientImportance(_layers(trainer.network), trainer.recipe.weight_decay)
        self._pruner = ChannelPruner(self._groups, {group.name: group.width for group in self._groups.groups})

    def after_step(self) -> None:
        """Take in the gradients of an update and silence what has to go by now."""
        self._importance.update()
        step = self._trainer.step
        if step == FIRST_CHOICE:
            self._plan()
        if step >= FIRST_CHOICE and step % CHOOSE_EVERY == 0:
            self._pruner.choose(self._importance.scores(), self._trainer.progress)
        self._silence()

    def finish(self) -> DetectorNet:
        """The trainer's network without the channels and blocks that have to go."""
        if self._trainer.step < FIRST_CHOICE:
            self._plan()
        self._pruner.choose(self._importance.scores(), 1.0)
        self._silence()
        dissolved = {_block_of(group) for group in self._pruner.dissolved()}
        self._pruner.remove()
        return without_blocks(self._trainer.network, dissolved)

    def save(self, file: Path) -> None:
        """Write what goes with the trainer's checkpoint."""
        torch.save({"importance": self._importance.state_dict(), "pruner": self._pruner.state_dict()}, file)

    def load(self, file: Path) -> None:
        """Continue from a state written by save(). Raises UserError when it cannot be read."""
        try:
            state = torch.load(file, weights_only=True)
            self._importance.load_state_dict(state["importance"])
            self._pruner.load_state_dict(state["pruner"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot resume from {file}, it is damaged: delete its folder to start again.") from error

    def _plan(self) -> None:
        """Find out how much of each group is to go."""
        network, groups = self._trainer.network, self._groups.groups
        dissolvable = [group.name for group in groups if group.name.startswith("stages.")]
        scores = self._importance.scores()
        curves = sensitivity_curves(network, groups, scores, dissolvable, self._loss_once_settled)
        macs = layer_macs(network, torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE))
        costs = channel_costs(groups, macs)
        self._pruner = ChannelPruner(self._groups, cheapest_widths(curves, costs, self._rate * sum(macs.values())))

    @torch.no_grad()
    def _loss_once_settled(self, network: DetectorNet) -> float:
        """The loss of a network whose batch normalisations have yet to settle."""
        recipe = self._trainer.recipe
        total = 0.0
        for index in range(SETTLING_BATCHES + JUDGING_BATCHES):
            network.train(index < SETTLING_BATCHES)
            batch = self._trainer.lesson.batch(recipe.seed + 1, index, recipe.batch, recipe.size, 0.0)
            loss = self._trainer.losses(batch, network)["total"]
            total += float(loss) if index >= SETTLING_BATCHES else 0.0
        return total / JUDGING_BATCHES

    def _silence(self) -> None:
        for network in (self._trainer.network, self._trainer.average):
            self._pruner.silence(network)
            for group in self._pruner.dissolved():
                stage, block = _block_of(group)
                norm = network.get_submodule(f"stages.{stage}.{block + 1}.second.norm")
                for parameter in norm.parameters():  # else it goes on adding a constant
                    parameter.data.zero_()


def prune_at_once(network: DetectorNet, pruning: DetectorPruning, seed: int) -> DetectorNet:
    """The network after one of the methods that look at the weights only, or at nothing; `network` is used up."""
    if pruning.method == "layerdrop":
        return drop_blocks(network, pruning.rate)
    if pruning.method == "magnitude":
        scores = importance.magnitude(_layers(network))
    else:
        scores = importance.random(_layers(network), seed)
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
        dropped = {places[int((index + 0.5) * len(places) / count)] for index in range(count)}
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


def _layers(network: DetectorNet) -> list[tuple[str, nn.Conv2d]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]


def _head_maps(network: DetectorNet, packed: Tensor) -> list[Tensor]:
    """The heads' outputs as maps: rows of locations would hide the channels from the graph."""
    features = network.features(packed)
    scores = [network.class_head(tower(feature)) for tower, feature in zip(network.class_towers, features)]
    return scores + [network.box_head(tower(feature)) for tower, feature in zip(network.box_towers, features)]
