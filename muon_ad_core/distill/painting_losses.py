# SPDX-License-Identifier: Apache-2.0
"""What a network that paints is trained for: the losses of its pictures, and the targets that styles give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muon_ad_core.distill.feature_distribution import (
    STYLE_TAPS,
    channels_last,
    drawn_directions,
    style_distance,
    style_targets,
)
from muon_ad_core.distill.features import load_feature_network
from muon_ad_core.distill.losses import (
    content_distance,
    lattice_penalty,
    mesh_penalty,
    shift_difference,
    tone_distance,
    total_variation,
)
from muon_ad_core.distill.pictures import resize_long_side, to_tensor

CONTENT_TAP = 6
STYLE_LOSSES = ("style", "attention")
"""Losses that pull towards the style; all others hold the picture."""


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses; what has the factor 0 is left out, except content, which is told at any rate.

    style: distribution of features, and their strength; content: instance-normalised features; tone: light and dark
    of the picture; lattice: what repeats from cell to cell; mesh: frequencies that stand out; border: lines along the
    border of plain frames; steady: difference between two views of a moving camera; variation: total variation;
    attention: a teacher's attention distillation, attention_content: of its queries, relative to attention.
    """

    style: float = 20.0
    content: float = 8.0
    tone: float = 2.0
    lattice: float = 700.0
    mesh: float = 8.0
    border: float = 1500.0
    steady: float = 12.0
    variation: float = 0.02
    attention: float = 0.0
    attention_content: float = 0.25


@dataclass(frozen=True)
class Views:
    """One step's photographs: two views (B, 3, S, S) in [-1, 1] of each, the second moved by `shift` rows, columns."""

    first: Tensor
    second: Tensor
    shift: tuple[int, int]
    styles: Sequence[int]
    """Index of the style of each photograph."""

    def both(self) -> Tensor:
        """First views before second ones, (2B, 3, S, S)."""
        return torch.cat([self.first, self.second])


class PerceptualLosses:
    """Losses on the features of SqueezeNet 1.1, of pictures painted from both views of some photographs."""

    def __init__(self, features: Path, styles: Sequence[np.ndarray], style_side: int, weights: LossWeights) -> None:
        """styles: RGB uint8 (H, W, 3), any size, looked at with `style_side` pixels along the longer side."""
        self._network = load_feature_network(features)
        self._weights = weights
        views = (to_tensor([resize_long_side(picture, style_side)]) for picture in styles)
        self._targets = [style_targets(self._network, view) for view in views]

    def __call__(self, painted: Tensor, views: Views, random: np.random.Generator) -> dict[str, Tensor]:
        """painted: (2B, 3, S, S), first views before second ones. Weighted losses by name.

        random: draws the directions along which features are compared with a style's.
        """
        weights, half = self._weights, len(painted) // 2
        taps = sorted({*STYLE_TAPS, CONTENT_TAP})
        found = self._network(channels_last(painted), taps)
        with torch.no_grad():
            pictures = channels_last(views.both())
            wanted = self._network(pictures, (CONTENT_TAP,))[CONTENT_TAP]
        losses = {"content": weights.content * content_distance(found[CONTENT_TAP], wanted).mean()}
        if weights.style:
            losses["style"] = weights.style * _tamed(self._style_loss(painted, found, views, random)).mean()
        if weights.tone:
            losses["tone"] = weights.tone * tone_distance(painted, pictures).mean()
        if weights.lattice:
            losses["lattice"] = weights.lattice * lattice_penalty(painted).mean()
        if weights.mesh:
            losses["mesh"] = weights.mesh * mesh_penalty(painted).mean()
        if weights.steady:
            losses["steady"] = weights.steady * shift_difference(painted[:half], painted[half:], views.shift).mean()
        if weights.variation:
            losses["variation"] = weights.variation * total_variation(painted).mean()
        return losses

    def _style_loss(
        self, painted: Tensor, found: Mapping[int, Tensor], views: Views, random: np.random.Generator
    ) -> Tensor:
        """Distances from the styles, (2B,)."""
        targets = [self._targets[index] for index in views.styles] * 2
        return style_distance(self._network, painted, found, targets, drawn_directions(random))


def _tamed(distances: Tensor) -> Tensor:
    """Distances as they are up to 1, from there on growing as their root.

    A plain texture as a style is thousands away from any photograph: it would outvote hundreds of steps.
    """
    return torch.where(distances > 1, 2 * distances.clamp(min=1).sqrt() - 1, distances)
