# SPDX-License-Identifier: Apache-2.0
"""Muon: momentum, orthogonalised by Newton-Schulz iterations, for parameters of any number of dimensions.

Keller Jordan et al., 2024; the update agrees with `torch.optim.Muon` where both apply (2-D parameters). Convolution
weights (O, I, kh, kw) are seen as (O, I*kh*kw) matrices; parameters with fewer than two dimensions go to AdamW in the
same optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.775, 2.0315)


def orthogonalise(matrix: Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Approximate the orthogonal polar factor U V^T of matrices (..., A, B) by Newton-Schulz iterations.

    The quintic iteration drives every singular value into about [0.7, 1.2]; it does not converge to 1 exactly.
    dtype is what the iterations are computed in; the result has the dtype of `matrix`.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
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
        newton_schulz_dtype: torch.dtype = torch.float32,
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
                if group["use_muon"] and parameter.ndim >= 2:
                    self._muon_step(parameter, parameter.grad, group)
                else:
                    self._adamw_step(parameter, parameter.grad, group)
        return loss

    def _muon_step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer, beta = state["momentum_buffer"], group["momentum"]
        buffer.lerp_(gradient, 1 - beta)
        direction = gradient.lerp(buffer, beta) if group["nesterov"] else buffer
        matrix = direction.reshape(direction.shape[0], -1)
        update = orthogonalise(matrix, group["newton_schulz_steps"], group["newton_schulz_dtype"])
        scale = match_rms_adamw_scale(*matrix.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * scale)

    def _adamw_step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        beta1, beta2 = group["adamw_betas"]
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt_().add_(group["adamw_eps"])
        parameter.mul_(1 - group["adamw_lr"] * group["weight_decay"])
        step_size = group["adamw_lr"] / (1 - beta1 ** state["step"])
        parameter.addcdiv_(state["exp_avg"], denominator, value=-step_size)
