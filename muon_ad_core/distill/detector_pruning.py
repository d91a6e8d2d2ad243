# SPDX-License-Identifier: Apache-2.0
"""Prunes a DetectorNet: which channels or blocks go, and the shape that is left."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muon_ad_core.compress import importance
from muon_ad_core.compress.allocation import depth_rates, kept_widths
from muon_ad_core.compress.channel_groups import ChannelGroups
from muon_ad_core.compress.pruning import ChannelPruner
from muon_ad_core.distill.detector_trainer import DetectorTrainer
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import INPUT_BLOCK, DetectorNet, DetectorShape

METHODS = ("gradual", "magnitude", "random", "layerdrop")
GRADUAL_SHARE = 0.3
"""Of a run: the channels go during its first part, the rest trains what is left."""
CHOOSE_EVERY = 10
FIRST_CHOICE = 20  # updates before gradients tell anything
TRACED_SIDE = 64


@dataclass(frozen=True)
class DetectorPruning:
    """What to prune.

    Attributes:
        rate: share of the channels (layerdrop: of the residual blocks) that goes, 0 < rate < 1.
        method: "gradual" (the project's: importance from the training's gradients, retention schedule, more from deep
            layers than from shallow ones), or at once and everywhere alike: "magnitude" (smallest filters), "random",
            "layerdrop" (whole blocks).
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
        groups = channel_groups(trainer.network)
        self._importance = importance.GradientImportance(_layers(trainer.network), trainer.recipe.weight_decay)
        self._pruner = ChannelPruner(groups, kept_widths(groups.groups, depth_rates(groups.groups, rate)))

    def after_step(self) -> None:
        """Take in the gradients of an update and silence what has to go by now."""
        self._importance.update()
        step = self._trainer.step
        if step >= FIRST_CHOICE and step % CHOOSE_EVERY == 0:
            self._pruner.choose(self._importance.scores(), self._trainer.progress)
        self._silence()

    def finish(self) -> DetectorNet:
        """The trainer's network without the channels that have to go."""
        self._pruner.choose(self._importance.scores(), 1.0)
        self._silence()
        self._pruner.remove()
        return rebuilt(self._trainer.network)

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

    def _silence(self) -> None:
        self._pruner.silence(self._trainer.network)
        self._pruner.silence(self._trainer.average)


def prune_at_once(network: DetectorNet, pruning: DetectorPruning, seed: int) -> DetectorNet:
    """The network after one of the methods that look at the weights only, or at nothing; `network` is used up."""
    if pruning.method == "layerdrop":
        return drop_blocks(network, pruning.rate)
    if pruning.method == "magnitude":
        scores = importance.magnitude(_layers(network))
    else:
        scores = importance.random(_layers(network), seed)
    groups = channel_groups(network)
    pruner = ChannelPruner(groups, kept_widths(groups.groups, [pruning.rate] * len(groups.groups)))
    pruner.choose(scores, 1.0)
    pruner.remove()
    return rebuilt(network)


def drop_blocks(network: DetectorNet, rate: float) -> DetectorNet:
    """Every n-th residual block taken out, `rate` of them (Fan et al., "LayerDrop", ICLR 2020)."""
    places = [(stage, block) for stage, count in enumerate(network.shape.blocks) for block in range(count)]
    count = round(rate * len(places))
    dropped = {places[int((index + 0.5) * len(places) / count)] for index in range(count)}
    bodies: list[Any] = list(network.stages)
    for stage, body in enumerate(bodies):
        kept = [part for block, part in enumerate(body[1:]) if (stage, block) not in dropped]
        network.stages[stage] = nn.Sequential(body[0], *kept)
    return rebuilt(network)


def channel_groups(network: DetectorNet) -> ChannelGroups:
    """What can be removed: all but the heads' outputs and the pyramid, which is compared with a teacher's features."""
    side = TRACED_SIDE // INPUT_BLOCK
    example = torch.zeros(1, 3 * INPUT_BLOCK**2, side, side)
    laterals: list[Any] = [lateral.conv for lateral in network.laterals]
    return ChannelGroups(network, example, _head_maps, keep=[network.class_head, network.box_head, *laterals])


def rebuilt(network: DetectorNet) -> DetectorNet:
    """A new DetectorNet with the widths and the weights of one whose layers were changed."""
    fresh = DetectorNet(_shape_of(network))
    fresh.load_state_dict(network.state_dict())
    return fresh


def _shape_of(network: DetectorNet) -> DetectorShape:
    bodies: list[Any] = list(network.stages)
    stages = [list(body) for body in bodies]
    towers: list[Any] = [network.class_towers[0], network.box_towers[0]]
    lateral: Any = network.laterals[0]
    return replace(
        network.shape,
        stem=network.stem.conv.out_channels,
        widths=_three(stage[0].conv.out_channels for stage in stages),
        blocks=_three(len(stage) - 1 for stage in stages),
        pyramid=lateral.conv.out_channels,
        inner=tuple(tuple(block.first.conv.out_channels for block in stage[1:]) for stage in stages),
        towers=tuple(tower.conv.out_channels for tower in towers),
    )


def _three(values: Iterable[int]) -> tuple[int, int, int]:
    first, second, third = values
    return first, second, third


def _layers(network: DetectorNet) -> list[tuple[str, nn.Conv2d]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]


def _head_maps(network: DetectorNet, packed: Tensor) -> list[Tensor]:
    """The heads' outputs as maps: rows of locations would hide the channels from the graph."""
    features = network.features(packed)
    scores = [network.class_head(tower(feature)) for tower, feature in zip(network.class_towers, features)]
    return scores + [network.box_head(tower(feature)) for tower, feature in zip(network.box_towers, features)]
