# SPDX-License-Identifier: Apache-2.0
"""Muon for latents: every sample is seen as a matrix, and the step is measured in the latent's own RMS.

    change = -learning rate * RMS(z) * O / RMS(O)        O: orthogonalised momentum, one matrix a sample

(paper, equation of the reverse optimisation path: MuonUpdate(gradient, RMS(z))). Weight decay is 0: a latent is data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from muon_ad_core.distill.muon import momentum_direction, orthogonalise
from muon_ad_core.distill.update_rules import State

VIEWS = ("c_hw", "ch_w", "patch")
SECOND_MOMENTS = ("none", "rows", "elements", "eigenbasis")
MINIMUM_RMS = 0.1
"""A latent below it (a level of fine detail, or all zeros) is moved as if it had this RMS."""


def to_matrices(latent: Tensor, view: str, patch: int = 8) -> Tensor:
    """A latent (B, C, H, W) as matrices (B, rows, columns), one a sample.

    c_hw: C rows of H*W columns, so that channels are decorrelated (rank at most C); ch_w: C*H rows of W columns;
    patch: one row a patch of patch x patch positions, with C*patch*patch columns; what lacks at the right and lower
    edge is filled with zeros. Raises ValueError for an unknown view.
    """
    batch, channels, height, width = latent.shape
    if view == "c_hw":
        return latent.reshape(batch, channels, height * width)
    if view == "ch_w":
        return latent.reshape(batch, channels * height, width)
    if view != "patch":
        raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view}")
    padded = pad(latent, (0, -width % patch, 0, -height % patch))
    rows, columns = padded.shape[2] // patch, padded.shape[3] // patch
    cut = padded.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(batch, rows * columns, channels * patch * patch)


def from_matrices(matrices: Tensor, view: str, shape: torch.Size, patch: int = 8) -> Tensor:
    """The latent of `shape` (B, C, H, W) that `to_matrices` made `matrices` of."""
    if view != "patch":
        return matrices.reshape(shape)
    batch, channels, height, width = shape
    rows, columns = -(-height // patch), -(-width // patch)
    cut = matrices.reshape(batch, rows, columns, channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return cut.reshape(batch, channels, rows * patch, columns * patch)[:, :, :height, :width]


def rms(samples: Tensor) -> Tensor:
    """Root mean square of every sample: (B, ...) to (B, 1, ...)."""
    return samples.square().mean(dim=tuple(range(1, samples.ndim)), keepdim=True).sqrt()


@dataclass(frozen=True)
class MuonLatentRule:
    """Muon's update of latents (B, C, H, W), sample by sample.

    view, patch: see `to_matrices`; momentum: EMA factor; newton_schulz_dtype: None chooses by size.
    second_moment: what divides the update besides, with EMA factor `beta2`. none: nothing, the paper's Muon; rows: the
    RMS of each row of O (NorMuon, Li et al., 2025); elements: the RMS of each element of O (AdaMuon, Si et al., 2025);
    eigenbasis: no Newton-Schulz, but Adam's division in the eigenbasis of the rows' second moment, found anew every
    `eigenbasis_every` steps (one-sided SOAP, Vyas et al., 2024).
    Raises ValueError for an unknown view or second moment.
    """

    view: str = "c_hw"
    patch: int = 8
    momentum: float = 0.95
    nesterov: bool = True
    newton_schulz_steps: int = 5
    newton_schulz_dtype: torch.dtype | None = None
    second_moment: str = "none"
    beta2: float = 0.95
    eigenbasis_every: int = 5

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {self.view}")
        if self.second_moment not in SECOND_MOMENTS:
            raise ValueError(f"second_moment must be one of {', '.join(SECOND_MOMENTS)}, got {self.second_moment}")

    def change(self, target: Tensor, gradient: Tensor, state: State) -> Tensor:
        """See `update_rules.UpdateRule.change`; target and gradient (B, C, H, W) float32."""
        state["step"] = state.get("step", 0) + 1
        direction = momentum_direction(gradient, state.setdefault("momentum", {}), self.momentum, self.nesterov)
        matrices = to_matrices(direction, self.view, self.patch)
        if self.second_moment == "eigenbasis":
            update = self._in_eigenbasis(matrices, to_matrices(gradient, self.view, self.patch), state)
        else:
            update = orthogonalise(matrices, self.newton_schulz_steps, self.newton_schulz_dtype)
            if self.second_moment != "none":
                update = self._divided(update, state)
        update = from_matrices(update, self.view, target.shape, self.patch)
        return update * (-rms(target).clamp(min=MINIMUM_RMS) / rms(update).clamp(min=1e-12))

    def _divided(self, update: Tensor, state: State) -> Tensor:
        """O by the root of the EMA of its squares, of rows or of elements."""
        square = update.square()
        if self.second_moment == "rows":
            square = square.mean(dim=2, keepdim=True)
        mean = state.setdefault("square", torch.zeros_like(square))
        mean.lerp_(square, 1 - self.beta2)
        return update / (mean / (1 - self.beta2 ** state["step"])).sqrt_().add_(1e-8)

    def _in_eigenbasis(self, matrices: Tensor, gradient: Tensor, state: State) -> Tensor:
        """Adam's division of the momentum, in coordinates in which the rows are uncorrelated."""
        gram = gradient @ gradient.mT
        mean = state.setdefault("gram", torch.zeros_like(gram))
        mean.lerp_(gram, 1 - self.beta2)
        if (state["step"] - 1) % self.eigenbasis_every == 0:
            state["basis"] = torch.linalg.eigh(mean)[1]
        basis: Tensor = state["basis"]
        square = state.setdefault("square", torch.zeros_like(gradient))
        square.lerp_((basis.mT @ gradient).square(), 1 - self.beta2)
        divisor = (square / (1 - self.beta2 ** state["step"])).sqrt_().add_(1e-12)
        return basis @ ((basis.mT @ matrices) / divisor)
