# SPDX-License-Identifier: Apache-2.0
"""Training of a Johnson network for one style by the student's recipe: the peer that the student is compared with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.compress.frame_graphs import export_frame_network
from muon_ad_core.distill.painting_losses import Views
from muon_ad_core.distill.painting_trainer import PaintingTrainer, PaintingTraining
from muon_ad_core.distill.pictures import StylePicture
from muon_ad_core.nets.peers import ReflectedConvolution, johnson_network

CALIBRATION_FRAMES, CALIBRATION_SIDE = 64, 256
HALF_RANGE = 127.5


class JohnsonTrainer(PaintingTrainer[nn.Module]):
    """One resumable, seeded run; the network is trained on pictures in [-1, 1]."""

    def __init__(
        self, recipe: PaintingTraining, style: StylePicture, build: Callable[[], nn.Module] = johnson_network
    ) -> None:
        """build: makes the network, whose last layer is a `ReflectedConvolution`. UserError as of the recipe."""
        torch.manual_seed(recipe.seed)
        self.style = style
        super().__init__(build(), recipe, [style])

    def identity(self) -> dict[str, Any]:
        return {"network": "johnson", "style": self.style.name}

    def draw_styles(self, random: np.random.Generator) -> list[int]:
        return [0] * self.recipe.batch

    def paint(self, network: nn.Module, views: Views, random: np.random.Generator) -> Tensor:
        return network(torch.cat([views.first, views.second]))

    def export(self, folder: Path) -> None:
        """Write STYLE.float.onnx, STYLE.int8.onnx (uint8 frames in and out) and STYLE.json (the recipe), in this order:
        with the last file the style is done."""
        random = np.random.default_rng(self.recipe.seed)
        frames = (self.photos.draw(CALIBRATION_SIDE, random)[None] for _ in range(CALIBRATION_FRAMES))
        export_frame_network(in_bytes(self.average), folder / self.style.name, frames)
        about = {
            "style": self.style.name, "network": "Johnson", "steps_done": self.step,
            "hours": round(self.seconds / 3600, 3), "photographs": len(self.photos.paths),
            "palette": self.palettes[0].to_array().tolist(), **self.recipe.describe(),
        }  # fmt: skip
        (folder / f"{self.style.name}.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def in_bytes(network: nn.Module) -> nn.Module:
    """The network for pictures in 0..255 in place of [-1, 1]: its first normalisation does not tell these apart, and
    the last convolution takes over the change of range."""
    changed = copy.deepcopy(network)
    last = list(changed.children())[-1]
    assert isinstance(last, ReflectedConvolution) and last.convolution.bias is not None
    with torch.no_grad():
        last.convolution.weight.mul_(HALF_RANGE)
        last.convolution.bias.mul_(HALF_RANGE).add_(HALF_RANGE)
    return changed
