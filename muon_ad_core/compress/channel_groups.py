# SPDX-License-Identifier: Apache-2.0
"""Channel groups: channels that can only be removed together, because sums and skips tie layers to each other.

Torch-Pruning's dependency graph finds them and removes them (Fang et al., "DepGraph", CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch_pruning
from torch import Tensor, nn

Forward = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class ChannelGroup:
    """Layers whose output channel c is one channel to the network.

    Attributes:
        name: of the first layer in execution order.
        layers: names of the convolutions that write these channels.
        readers: names of the convolutions that read them.
        norms: names of the batch normalisations or modulations behind them.
        width: channels.
        depth: place of the first layer in execution order, 0 (first layer of the network) to 1 (last).
    """

    name: str
    layers: tuple[str, ...]
    readers: tuple[str, ...]
    norms: tuple[str, ...]
    width: int
    depth: float


class RemovableGroups(Protocol):
    """Channel groups of one network, and how to remove from them."""

    @property
    def groups(self) -> Sequence[ChannelGroup]: ...

    def remove(self, group: ChannelGroup, channels: Sequence[int]) -> None:
        """Remove channels of a group physically from all layers that write or read them."""


class ChannelGroups:
    """The removable channel groups of a network of convolutions.

    network: its parameters must require gradients, for the graph is traced through autograd. example: an input;
    forward: how to run the network where its own forward() hides channels from the graph (by flattening them away);
    keep: modules whose output channels must stay, such as heads.
    """

    def __init__(
        self, network: nn.Module, example: Tensor, forward: Forward | None = None, keep: Iterable[nn.Module] = ()
    ) -> None:
        self._network = network
        self._names = {module: name for name, module in network.named_modules()}
        training = network.training
        network.eval()  # tracing must not touch running statistics
        with torch.enable_grad():
            self._graph = torch_pruning.DependencyGraph().build_dependency(network, example, forward_fn=forward)
        network.train(training)
        order = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
        found = self._graph.get_all_groups(ignored_layers=list(keep), root_module_types=[nn.Conv2d])
        self.groups = tuple(sorted((self._describe(group, order) for group in found), key=lambda group: group.depth))

    def remove(self, group: ChannelGroup, channels: Sequence[int]) -> None:
        """Remove channels of a group physically from all layers that write or read them."""
        if not channels:
            return
        root = self._network.get_submodule(group.layers[0])
        self._graph.get_pruning_group(root, torch_pruning.prune_conv_out_channels, sorted(channels)).prune()

    def _describe(self, group: Any, order: list[str]) -> ChannelGroup:
        found: dict[Any, set[str]] = {}
        for dependency, _ in group:
            if name := self._names.get(dependency.target.module):  # sums have none
                found.setdefault(dependency.handler, set()).add(name)
        layers = tuple(sorted(found[torch_pruning.prune_conv_out_channels], key=order.index))
        first: Any = self._network.get_submodule(layers[0])
        return ChannelGroup(
            layers[0],
            layers,
            tuple(sorted(found.get(torch_pruning.prune_conv_in_channels, ()), key=order.index)),
            tuple(sorted(found.get(torch_pruning.prune_batchnorm_out_channels, ()))),
            first.out_channels,
            order.index(layers[0]) / max(1, len(order) - 1),
        )
