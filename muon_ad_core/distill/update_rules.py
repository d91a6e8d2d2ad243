# SPDX-License-Identifier: Apache-2.0
"""Update rules: what one step of an optimiser adds to a tensor, given its gradient.

A rule holds settings only; what it remembers between steps lies in a plain dictionary of the caller, so that optimisers
of weights (`muon.Muon`) and of latents (`optimisation.Optimisation`) share the rules and save their states alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, zeros_like

State = dict[str, Any]
"""Tensors and counts that a rule keeps for one target; empty before the first step."""


class UpdateRule(Protocol):
    """The mathematics of one optimiser for one tensor."""

    def change(self, target: Tensor, gradient: Tensor, state: State) -> Tensor:
        """What to add to `target` at a learning rate of 1; same shape and dtype. `state` is updated in place."""
        ...


@dataclass(frozen=True)
class AdamRule:
    """Adam (Kingma and Ba, 2015) with decoupled weight decay: AdamW where `weight_decay` is not zero.

    Agrees with `torch.optim.AdamW`.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def change(self, target: Tensor, gradient: Tensor, state: State) -> Tensor:
        """See `UpdateRule.change`."""
        if not state:
            state.update(step=0, exp_avg=zeros_like(target), exp_avg_sq=zeros_like(target))
        state["step"] += 1
        beta1, beta2 = self.betas
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt_().add_(self.eps)
        update = (state["exp_avg"] / denominator).mul_(-1 / (1 - beta1 ** state["step"]))
        return update.sub_(target, alpha=self.weight_decay) if self.weight_decay else update


@dataclass(frozen=True)
class MomentumRule:
    """Gradient descent with heavy-ball momentum; agrees with `torch.optim.SGD`."""

    momentum: float = 0.9

    def change(self, target: Tensor, gradient: Tensor, state: State) -> Tensor:
        """See `UpdateRule.change`."""
        if not state:
            state["momentum_buffer"] = zeros_like(target)
        return -state["momentum_buffer"].mul_(self.momentum).add_(gradient)
