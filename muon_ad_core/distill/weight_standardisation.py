# SPDX-License-Identifier: Apache-2.0
"""Filters without mean and of a length of their own in training; plain filters, at no cost, afterwards.

What comes out of a rectifier is positive: a filter with a mean shifts its units together, in a network without
normalisation until they are silent. Scaled weight standardisation (Qiao et al., 2019; Brock et al., 2021) takes that
away, and with it the growth of weights that Muon's steps of constant size cause.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

EPSILON = 1e-8


class StandardisedFilters(nn.Module):
    """Filters (O, I, H, W) of mean 0 and of the length that `gain` (O,) gives, from filters of any."""

    def forward(self, filters: Tensor, gain: Tensor) -> Tensor:
        flat = filters.flatten(1)
        direction = F.layer_norm(flat, flat.shape[1:], eps=EPSILON) * flat.shape[1] ** -0.5
        return (direction * gain[:, None]).view_as(filters)

    def right_inverse(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        """The same filters without their mean."""
        flat = filters.flatten(1)
        return filters, (flat - flat.mean(1, keepdim=True)).norm(dim=1)


def standardise(network: nn.Module, chosen: Callable[[str], bool]) -> None:
    """Standardise the convolutions of `network` whose names are `chosen`; they keep their present lengths."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and chosen(name):
            parametrize.register_parametrization(module, "weight", StandardisedFilters())


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network of the same kind, with plain filters, that computes the same."""
    state = {name: value for name, value in network.state_dict().items() if ".parametrizations." not in name}
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight.detach()
    return state
