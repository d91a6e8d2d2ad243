# SPDX-License-Identifier: Apache-2.0
"""Gradual pruning as part of a training: what is to go is found out early in the run, then goes little by little."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from muon_ad_core.compress.allocation import Widths
from muon_ad_core.compress.channel_groups import ChannelGroup, RemovableGroups
from muon_ad_core.compress.importance import GradientImportance
from muon_ad_core.compress.pruning import ChannelPruner
from muon_ad_core.distill.training import TrainingRun
from muon_ad_core.errors import UserError

METHODS = ("gradual", "magnitude", "random", "layerdrop")
"""gradual: the project's (how much of each group by what the loss says of doing without it, which channels by
importance from the training's gradients, little by little by the retention schedule); or at once and everywhere alike:
magnitude (smallest filters), random, layerdrop (whole blocks)."""
GRADUAL_SHARE = 0.3
"""Of a run: the channels go during its first part, the rest trains what is left."""
FIRST_CHOICE = 20  # updates before gradients tell anything
CHOOSE_EVERY = 10
Network = TypeVar("Network", bound=nn.Module)


def check_pruning(rate: float, method: str) -> None:
    """Raise UserError unless 0 < rate < 1 and the method is one of METHODS."""
    if not 0 < rate < 1:
        raise UserError(f"the pruning rate must be between 0 and 1, not {rate:g}.")
    if method not in METHODS:
        raise UserError(f'unknown pruning method "{method}": choose {", ".join(METHODS)}.')


class GradualPruning(ABC, Generic[Network]):
    """Silences channels of a trainer's network over its run: call `after_step()` after each of its updates, and
    `finish()` at the end to remove them."""

    def __init__(self, trainer: TrainingRun[Network], groups: RemovableGroups, weight_decay: float) -> None:
        """groups: of the trainer's network; weight_decay: of its optimiser."""
        self.trainer, self.groups = trainer, groups
        self._importance = GradientImportance(convolutions(trainer.network), weight_decay)
        self._pruner = ChannelPruner(groups, {group.name: group.width for group in groups.groups})

    @abstractmethod
    def plan(self, scores: Mapping[str, Tensor]) -> Widths:
        """Channels to keep of each group at the end; scores: {layer name: (channels,)}, importance so far."""

    @abstractmethod
    def dissolve(self, network: Network, group: ChannelGroup) -> None:
        """Make the block of a group of which no channel is left add nothing."""

    @abstractmethod
    def rebuild(self, network: Network, dissolved: list[ChannelGroup]) -> Network:
        """A network of the shape that `network` has after removal, without the blocks of dissolved groups."""

    def after_step(self) -> None:
        """Take in the gradients of an update and silence what has to go by now."""
        self._importance.update()
        step = self.trainer.step
        if step == FIRST_CHOICE:
            self._pruner = ChannelPruner(self.groups, self.plan(self._importance.scores()))
        if step >= FIRST_CHOICE and step % CHOOSE_EVERY == 0:
            self._pruner.choose(self._importance.scores(), self.trainer.progress)
        self._silence()

    def finish(self) -> Network:
        """The trainer's network without the channels and blocks that have to go; the trainer is used up."""
        if self.trainer.step < FIRST_CHOICE:
            self._pruner = ChannelPruner(self.groups, self.plan(self._importance.scores()))
        self._pruner.choose(self._importance.scores(), 1.0)
        self._silence()
        self._pruner.remove()
        return self.rebuild(self.trainer.network, self._pruner.dissolved())

    def save(self, file: Path) -> None:
        """Write what goes with the trainer's checkpoint."""
        torch.save({"importance": self._importance.state_dict(), "pruner": self._pruner.state_dict()}, file)

    def load(self, file: Path) -> None:
        """Continue from a state written by save(). Raises UserError when it cannot be read."""
        try:
            state: dict[str, Any] = torch.load(file, weights_only=True)
            self._importance.load_state_dict(state["importance"])
            self._pruner.load_state_dict(state["pruner"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot resume from {file}, it is damaged: delete its folder to start again.") from error

    def _silence(self) -> None:
        for network in (self.trainer.network, self.trainer.average):
            self._pruner.silence(network)
            for group in self._pruner.dissolved():
                self.dissolve(network, group)


def convolutions(network: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """Name and layer of each convolution, in the order of definition."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
