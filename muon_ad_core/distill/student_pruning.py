# SPDX-License-Identifier: Apache-2.0
"""Prunes a student: which channels and blocks of its body go, guided by measured time, and the shape that is left.

Removable are the channels of the body at 1/8 resolution, nine tenths of the work, and those inside its residual blocks,
down to none. What the levels paint with at 1/4 and 1/2 resolution stays, and so do the style codes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.compress import importance
from muon_ad_core.compress.allocation import (
    Widths,
    evenly_spaced,
    multiples_below,
    narrowed_step_by_step,
    uniform_until,
)
from muon_ad_core.compress.channel_groups import ChannelGroup
from muon_ad_core.compress.export import layer_macs
from muon_ad_core.compress.pruning import ChannelPruner
from muon_ad_core.compress.sensitivity import sensitivity_curves
from muon_ad_core.distill.gradual_pruning import GradualPruning, convolutions
from muon_ad_core.distill.student_trainer import StudentTrainer, StyledStudent
from muon_ad_core.nets.student import Student, StudentConfig

BODY = "student.down"
"""Group of the body's own channels, which every block adds to."""
JUDGING_BATCHES = 4
TRACED_SIDE = 64
Cost = Callable[[StudentConfig], float]
"""Time of a frame of a student of such sizes, in any unit."""


class StudentGroups:
    """The removable channels of a student, known by heart: a modulation keeps scale and shift of each channel in one
    matrix, which dependency graphs take for two sets of channels."""

    def __init__(self, network: StyledStudent) -> None:
        self._network = network
        body = range(len(network.student.body))
        firsts, seconds = ([f"student.body.{block}.{part}" for block in body] for part in ("first", "second"))
        groups = [
            ChannelGroup(
                BODY, (BODY, *seconds), (*firsts, "student.up_quarter"), (), network.student.down.out_channels, 0.0
            )
        ]
        for block, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
            width = _convolution(network, first).out_channels
            modulation = f"student.body.{block}.modulation.linear"
            groups.append(ChannelGroup(first, (first,), (second,), (modulation,), width, (block + 1) / len(body)))
        self.groups: Sequence[ChannelGroup] = tuple(groups)

    def remove(self, group: ChannelGroup, channels: Sequence[int]) -> None:
        """Remove channels of a group physically from all layers that write or read them."""
        gone = set(channels)
        kept = torch.tensor([channel for channel in range(group.width) if channel not in gone])
        for name in (*group.layers, *group.norms):
            layer: Any = self._network.get_submodule(name)
            rows = torch.cat([kept + start for start in range(0, len(layer.weight), group.width)])
            layer.weight, layer.bias = nn.Parameter(layer.weight[rows]), nn.Parameter(layer.bias[rows])
        for name in group.readers:
            reader = _convolution(self._network, name)
            reader.weight = nn.Parameter(reader.weight[:, kept])


class StudentGradualPruning(GradualPruning[StyledStudent]):
    """Follows a trainer's run, see `GradualPruning`.

    rate: share of the multiply-accumulates of level fine that goes at least, as far as there is enough to remove;
    cost: measured time, which decides where they go.
    """

    def __init__(self, trainer: StudentTrainer, rate: float, cost: Cost) -> None:
        super().__init__(trainer, StudentGroups(trainer.network), trainer.recipe.weight_decay)
        self._student_trainer = trainer
        self._rate, self._cost = rate, cost

    def plan(self, scores: Mapping[str, Tensor]) -> Widths:
        network, groups = self.trainer.network, self.groups.groups
        dissolvable = [group.name for group in groups if group.name != BODY]
        curves = sensitivity_curves(network, groups, scores, dissolvable, self._loss, multiples_below)
        config = network.student.config
        return narrowed_step_by_step(
            curves, lambda widths: self._cost(config_of(config, widths)), small_enough(config, self._rate)
        )

    def dissolve(self, network: StyledStudent, group: ChannelGroup) -> None:
        second = _convolution(network, group.readers[0])
        if second.bias is not None:  # else it goes on adding a constant
            second.bias.data.zero_()

    def rebuild(self, network: StyledStudent, dissolved: list[ChannelGroup]) -> StyledStudent:
        return without_blocks(network, {_block_of(group) for group in dissolved})

    @torch.no_grad()
    def _loss(self, network: StyledStudent) -> float:
        trainer = self._student_trainer
        seeds = [(trainer.recipe.seed + 1, index) for index in range(JUDGING_BATCHES)]
        losses = [trainer.losses(network, np.random.default_rng(seed)) for seed in seeds]
        return sum(float(value) for row in losses for value in row.values()) / JUDGING_BATCHES


def prune_at_once(network: StyledStudent, rate: float, method: str, seed: int) -> StyledStudent:
    """The network after one of the methods that look at the weights only, or at nothing; `network` is used up."""
    config = network.student.config
    if method == "layerdrop":
        return _drop_blocks(network, rate)
    if method == "magnitude":
        scores = importance.magnitude(convolutions(network))
    else:
        scores = importance.random(convolutions(network), seed)
    groups = StudentGroups(network)
    pruner = ChannelPruner(groups, uniform_until(groups.groups, small_enough(config, rate)))
    pruner.choose(scores, 1.0)
    pruner.remove()
    return without_blocks(network, ())


def without_blocks(network: StyledStudent, dropped: Collection[int]) -> StyledStudent:
    """A new network of the widths that the layers of `network` have, without some of its residual blocks."""
    student = network.student
    blocks: list[Any] = [block for index, block in enumerate(student.body) if index not in dropped]
    student.body = nn.ModuleList(blocks)
    width = len(student.down.weight)
    inner = tuple(len(block.first.weight) for block in blocks)
    if all(each == width for each in inner):
        inner = ()
    config = replace(student.config, width=width, blocks=len(blocks), inner=inner)
    fresh = StyledStudent(config, len(network.offsets))
    fresh.load_state_dict(network.state_dict())
    return fresh


def config_of(config: StudentConfig, widths: Widths) -> StudentConfig:
    """Sizes of a student whose groups keep so many channels."""
    inner = tuple(width for name, width in widths.items() if name != BODY and width)
    return replace(config, width=widths[BODY], blocks=len(inner), inner=inner)


def small_enough(config: StudentConfig, rate: float) -> Callable[[Widths], bool]:
    """Whether a student whose groups keep so many channels does `rate` fewer multiply-accumulates, at level fine."""
    whole = student_macs(config)
    return lambda widths: student_macs(config_of(config, widths)) <= (1 - rate) * whole


@cache
def student_macs(config: StudentConfig) -> int:
    """Multiply-accumulates of level fine for a small picture."""
    picture, code = torch.zeros(1, 3, TRACED_SIDE, TRACED_SIDE), torch.zeros(1, config.code)
    with torch.device("meta"):
        student = Student(config)
    return sum(layer_macs(student, picture.to("meta"), code.to("meta")).values())


def _drop_blocks(network: StyledStudent, rate: float) -> StyledStudent:
    """Residual blocks at even distances taken out, just enough of them (Fan et al., "LayerDrop", ICLR 2020)."""
    config = network.student.config
    whole, blocks = student_macs(config), list(range(config.blocks))
    dropped: list[int] = []
    for count in range(1, len(blocks) + 1):
        dropped = evenly_spaced(blocks, count)
        inner = tuple(width for block, width in enumerate(config.inner_widths) if block not in dropped)
        if student_macs(replace(config, blocks=len(inner), inner=inner)) <= (1 - rate) * whole:
            break
    return without_blocks(network, dropped)


def _block_of(group: ChannelGroup) -> int:
    return int(group.name.split(".")[2])


def _convolution(network: StyledStudent, name: str) -> nn.Conv2d:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer
