# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum, orthogonalised by Newton-Schulz iterations, for parameters of any number of dimensions.

`MuonWeightRule` is the update of one weight, `Muon` the PyTorch optimiser; `muon_latent` has the rule of latents.
Keller Jordan et al., 2024; the update agrees with `torch.optim.Muon` where both apply (2-D parameters). Convolution
weights (O, I, kh, kw) are seen as (O, I*kh*kw) matrices; parameters with fewer than two dimensions go to AdamW in the
same optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from muon_ad_core.distill.fast_bfloat16 import has_fast_bfloat16
from muon_ad_core.distill.update_rules import AdamRule, State

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.775, 2.0315)
LARGE_SIDE = 256
"""Matrices whose smaller side has at least so many rows are iterated in bfloat16, where that is fast, smaller ones in
float32."""


def orthogonalise(matrix: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Approximate the orthogonal polar factor U V^T of matrices (..., A, B) by Newton-Schulz iterations.

    The quintic iteration drives every singular value into about [0.7, 1.2]; it does not converge to 1 exactly.
    dtype is what the iterations are computed in (None: by size, see LARGE_SIDE); the result has the dtype of `matrix`.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    if dtype is None:
        large = min(matrix.shape[-2:]) >= LARGE_SIDE
        dtype = torch.bfloat16 if large and (matrix.is_cuda or has_fast_bfloat16()) else torch.float32
    iterate = matrix.to(dtype)
    tall = iterate.shape[-2] > iterate.shape[-1]
    if tall:
        iterate = iterate.mT
    iterate = iterate / iterate.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = iterate @ iterate.mT
        iterate = a * iterate + (b * gram + c * gram @ gram) @ iterate
    return (iterate.mT if tall else iterate).to(matrix.dtype)


def match_rms_adamw_scale(rows: int, columns: int) -> float:
    """Step size factor 0.2 * sqrt(max(A, B)) that gives an orthogonal update the RMS of an AdamW update."""
    return 0.2 * max(rows, columns) ** 0.5


def momentum_direction(gradient: Tensor, state: State, momentum: float, nesterov: bool) -> Tensor:
    """Move the momentum buffer in `state` towards the gradient, and the direction that follows from it."""
    if not state:
        state["momentum_buffer"] = torch.zeros_like(gradient)
    buffer: Tensor = state["momentum_buffer"]
    buffer.lerp_(gradient, 1 - momentum)
    return gradient.lerp(buffer, momentum) if nesterov else buffer


@dataclass(frozen=True)
class MuonWeightRule:
    """Muon's update of a weight (O, ...), seen as a matrix (O, the rest), with `match_rms_adamw_scale`."""

    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.0
    newton_schulz_steps: int = 5
    newton_schulz_dtype: torch.dtype | None = None

    def change(self, target: Tensor, gradient: Tensor, state: State) -> Tensor:
        """See `update_rules.UpdateRule.change`."""
        direction = momentum_direction(gradient, state, self.momentum, self.nesterov)
        matrix = direction.reshape(direction.shape[0], -1)
        update = orthogonalise(matrix, self.newton_schulz_steps, self.newton_schulz_dtype)
        update = update.reshape(target.shape) * -match_rms_adamw_scale(*matrix.shape)
        return update.sub_(target, alpha=self.weight_decay) if self.weight_decay else update


class Muon(Optimizer):
    """Muon for matrices and convolution weights, AdamW for the rest, in one optimiser.

    params: parameters, or groups with the keys below and `use_muon` (default True; False sends a whole group, such as
    embeddings or modulation layers, to AdamW). lr: step size of the matrix update (scaled by
    `match_rms_adamw_scale`); adamw_lr: step size of parameters with fewer than two dimensions; momentum: EMA factor
    beta; weight_decay: decoupled. Raises ValueError for a step size or factor out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 4e-3,
        adamw_lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        newton_schulz_steps: int = 5,
        newton_schulz_dtype: torch.dtype | None = None,
        adamw_betas: tuple[float, float] = (0.9, 0.99),
        adamw_eps: float = 1e-8,
    ) -> None:
        if lr < 0 or adamw_lr < 0:
            raise ValueError(f"step sizes must not be negative, got lr={lr} and adamw_lr={adamw_lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        defaults = dict(
            use_muon=True, lr=lr, adamw_lr=adamw_lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
            newton_schulz_steps=newton_schulz_steps, newton_schulz_dtype=newton_schulz_dtype,
            adamw_betas=adamw_betas, adamw_eps=adamw_eps,
        )  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient; returns the closure's loss if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                muon = group["use_muon"] and parameter.ndim >= 2
                rule, rate = (_muon_rule(group), group["lr"]) if muon else (_adamw_rule(group), group["adamw_lr"])
                change = rule.change(parameter, parameter.grad, self.state[parameter])
                parameter.add_(change, alpha=rate)
        return loss


def _muon_rule(group: dict[str, Any]) -> MuonWeightRule:
    return MuonWeightRule(
        group["momentum"],
        group["nesterov"],
        group["weight_decay"],
        group["newton_schulz_steps"],
        group["newton_schulz_dtype"],
    )


def _adamw_rule(group: dict[str, Any]) -> AdamRule:
    return AdamRule(group["adamw_betas"], group["adamw_eps"], group["weight_decay"])
