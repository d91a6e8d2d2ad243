# SPDX-License-Identifier: Apache-2.0
"""Gradient geometry: steps at right angles to the latent, conflicts between two gradients, and their balance.

A gradient here is a list of tensors with one leading dimension, the samples (B, ...): one tensor for a latent, several
for a pyramid of latents or for the weights of a network (then B = 1). Inner products run over everything but samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Gradient = Sequence[Tensor]
TINY = 1e-20


def inner(a: Gradient, b: Gradient, weights: Gradient | None = None) -> Tensor:
    """Inner products (B,) of two gradients; each element counts by its weight where weights are given."""
    products = [x * y for x, y in zip(a, b, strict=True)]
    if weights is not None:
        products = [product * weight for product, weight in zip(products, weights, strict=True)]
    return torch.stack([product.flatten(1).sum(1) for product in products]).sum(0)


def add_scaled(a: Gradient, factor: Tensor, b: Gradient) -> list[Tensor]:
    """a + factor * b with one factor (B,) a sample."""
    return [x + _spread(factor, x) * y for x, y in zip(a, b, strict=True)]


def orthogonal_to(gradient: Gradient, latent: Gradient) -> list[Tensor]:
    """G_ortho: (I - z z^T / |z|^2) g, the part of g that does not change |z| to first order (paper, section III-A)."""
    return add_scaled(gradient, -inner(gradient, latent) / inner(latent, latent).clamp(min=TINY), latent)


def with_norm_of(latent: Gradient, reference: Gradient) -> list[Tensor]:
    """The latent scaled, sample by sample, to the norm of `reference`: a step at right angles still lengthens it."""
    factor = (inner(reference, reference) / inner(latent, latent).clamp(min=TINY)).sqrt()
    return [_spread(factor, x) * x for x in latent]


def cosine(a: Gradient, b: Gradient, weights: Gradient | None = None) -> Tensor:
    """Cosines (B,) of the angle between two gradients, 0 where one of them vanishes."""
    lengths = inner(a, a, weights) * inner(b, b, weights)
    return inner(a, b, weights) / lengths.clamp(min=TINY).sqrt()


def project_conflict(
    style: Gradient, content: Gradient, threshold: float = -0.5, weights: Gradient | None = None
) -> list[Tensor]:
    """The style gradient without what works against content, in the samples whose cosine is below the threshold.

    g_s - (<g_s, g_c> / |g_c|^2) g_c (paper, equation 2): PCGrad (Yu et al., 2020), but for style alone and from a
    threshold on. weights: of the inner product, see `SecondMoment`.
    """
    share = inner(style, content, weights) / inner(content, content, weights).clamp(min=TINY)
    conflict = cosine(style, content, weights) < threshold
    return add_scaled(style, torch.where(conflict, -share, torch.zeros_like(share)), content)


def pcgrad(style: Gradient, content: Gradient) -> list[Tensor]:
    """PCGrad's sum of two gradients, each projected against the other where they conflict at all; for comparison.

    Of two gradients, UPGrad (Quinton and Rey, 2024) is exactly half of it.
    """
    projected = project_conflict(style, content, 0.0), project_conflict(content, style, 0.0)
    return [x + y for x, y in zip(*projected, strict=True)]


class SecondMoment:
    """EMA of squared gradients; gives the weights of an inner product, 1 / sqrt(EMA), scaled to a mean of 1.

    In it, gradients are at right angles when a step of Adam's diagonal preconditioner along the one does not change the
    other's loss to first order: our reading of the paper's "Hessian" projection.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self._squares: list[Tensor] = []
        self._steps = 0

    def update(self, gradient: Gradient) -> None:
        """Take in one gradient."""
        if not self._squares:
            self._squares = [torch.zeros_like(x) for x in gradient]
        self._steps += 1
        for square, x in zip(self._squares, gradient, strict=True):
            square.mul_(self.decay).addcmul_(x, x, value=1 - self.decay)

    def weights(self) -> list[Tensor] | None:
        """Weights like the gradients, or None before the first one."""
        if not self._steps:
            return None
        roots = [(square / (1 - self.decay**self._steps)).sqrt() for square in self._squares]
        floor = 1e-3 * float(torch.cat([root.flatten() for root in roots]).mean()) + TINY
        inverse = [1 / (root + floor) for root in roots]
        mean = torch.cat([x.flatten() for x in inverse]).mean()
        return [x / mean for x in inverse]

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"squares": [square.clone() for square in self._squares], "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._squares, self._steps = [square.clone() for square in state["squares"]], state["steps"]


@dataclass
class ConflictStatistics:
    """How often gradients conflict, before and after projection: totals and EMAs over samples and steps.

    A sample conflicts when its cosine is below `threshold`.
    """

    threshold: float = -0.5
    decay: float = 0.95
    samples: int = 0
    conflicts_before: int = 0
    conflicts_after: int = 0
    ema_before: float = 0.0
    ema_after: float = 0.0

    def add(self, before: Tensor, after: Tensor) -> tuple[float, float]:
        """Take in the cosines (B,) of one step; returns the step's rates before and after."""
        low, still = before < self.threshold, after < self.threshold
        self.samples += len(before)
        self.conflicts_before += int(low.sum())
        self.conflicts_after += int(still.sum())
        rates = float(low.float().mean()), float(still.float().mean())
        self.ema_before = self.decay * self.ema_before + (1 - self.decay) * rates[0]
        self.ema_after = self.decay * self.ema_after + (1 - self.decay) * rates[1]
        return rates

    @property
    def rates(self) -> tuple[float, float] | None:
        """Share of all samples in conflict before and after, or None before the first step."""
        if not self.samples:
            return None
        return self.conflicts_before / self.samples, self.conflicts_after / self.samples


class GradientBalance:
    """Scale the style gradient to gamma times the content gradient's norm, both EMAs (paper, phase 3).

    g_s * gamma |g_c| / (|g_s| + eps)
    """

    def __init__(self, gamma: float = 1.0, decay: float = 0.9, eps: float = 1e-12) -> None:
        self.gamma, self.decay, self.eps = gamma, decay, eps
        self._norms: Tensor | None = None

    def scale(self, style: Gradient, content: Gradient) -> list[Tensor]:
        """The style gradient, balanced sample by sample; where content vanishes (textures) it is left alone."""
        norms = torch.stack([inner(style, style).sqrt(), inner(content, content).sqrt()])
        self._norms = norms if self._norms is None else self._norms.lerp(norms, 1 - self.decay)
        factor = self.gamma * self._norms[1] / (self._norms[0] + self.eps)
        factor = torch.where(self._norms[1] > 0, factor, torch.ones_like(factor))
        return [_spread(factor, x) * x for x in style]

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"norms": None if self._norms is None else self._norms.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._norms = None if state["norms"] is None else state["norms"].clone()


def _spread(factor: Tensor, like: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (like.ndim - 1))
