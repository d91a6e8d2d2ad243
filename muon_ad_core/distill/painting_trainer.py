# SPDX-License-Identifier: Apache-2.0
"""What trainings of networks that paint share: photographs, styles, losses, optimiser, conflict projection.

The student and the Johnson networks that it is compared with are trained by this one recipe.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.distill.attention_lesson import AttentionLosses
from muon_ad_core.distill.curriculum import rate_factor
from muon_ad_core.distill.fast_bfloat16 import has_fast_bfloat16
from muon_ad_core.distill.finishing import finished, moved_colours, soft_clamp
from muon_ad_core.distill.gradient_geometry import cosine, project_conflict
from muon_ad_core.distill.losses import border_penalty
from muon_ad_core.distill.muon import Muon
from muon_ad_core.distill.painting_curriculum import PaintingCurriculum, is_last_phase
from muon_ad_core.distill.painting_losses import STYLE_LOSSES, LossWeights, PerceptualLosses, Views
from muon_ad_core.distill.pictures import PhotoFolder, StylePicture, to_tensor
from muon_ad_core.distill.training import TrainingRun
from muon_ad_core.engine import grain
from muon_ad_core.engine.finishing import Finish
from muon_ad_core.errors import UserError
from muon_ad_core.palette import Palette

WARM_UP_STEPS = 100
LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end."""
GRADIENT_NORM = 10.0
OPTIMIZERS = ("muon", "adamw")
LEAST_CROP = 64
"""Pixels along a side: less shows no mesh, and at half of it the feature network has hardly a position left."""
CONFLICT = -0.5
"""Cosine of two gradients below which the style's is projected."""
Network = TypeVar("Network", bound=nn.Module)
Recipe = TypeVar("Recipe", bound="PaintingTraining")


@dataclass(kw_only=True)
class PaintingTraining:
    """Recipe of a run.

    photos, features: folder of photographs, file of SqueezeNet 1.1 weights; steps or minutes: length, the other is 0;
    batch: photographs a step, each seen in two shifted views of crop x crop pixels; style_side: longer side of the
    style pictures; max_shift: largest shift in pixels between the two views of a photograph, less than crop;
    palette_share, finish: how far colours are moved to those of the style's picture, and what else is done to results
    before they are judged, as the runtime will; lr, adamw_lr: of Muon for convolutions and of AdamW for the
    rest (for all with optimizer "adamw"); decay_share: last part of the run in which the rates fall to zero; noise:
    most sensor noise added to a view; projection: project the style's gradient where it conflicts with what holds the
    picture; curriculum: the phases of `painting_curriculum`; teacher: of attention distillation, when its weight is not
    0; weight_decay: of what AdamW trains; matrix_decay: of what Muon trains, whose spectral norms settle at about 0.2
    sqrt(longer side) / matrix_decay (with little of it, a network without normalisation grows until its layers die);
    data_note: origin and licences of the pictures, for the model card.
    """

    photos: Path
    features: Path
    steps: int = 0
    minutes: float = 0.0
    batch: int = 2
    crop: int = 192
    style_side: int = 448
    max_shift: int = 48
    palette_share: float = 0.0
    finish: Finish = field(default_factory=Finish)
    optimizer: str = "muon"
    lr: float = 2e-3
    adamw_lr: float = 1e-3
    weight_decay: float = 0.02
    matrix_decay: float = 4.0
    decay_share: float = 1.0
    ema: float = 0.998
    weights: LossWeights = field(default_factory=LossWeights)
    projection: bool = False
    curriculum: bool = False
    teacher: str = "teacher"
    noise: float = 0.03
    seed: int = 0
    data_note: str = ""

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f"unknown optimizer '{self.optimizer}': choose {' or '.join(OPTIMIZERS)}")
        if self.projection and not (self.weights.style or self.weights.attention):
            raise UserError("there is no style gradient to project: give the style or the attention loss a weight")
        if self.crop < LEAST_CROP:
            raise UserError(f"crops must have at least {LEAST_CROP} pixels, not {self.crop}")
        if not 0 <= self.max_shift < self.crop:
            raise UserError(f"the shift between views must be from 0 to less than {self.crop}, not {self.max_shift}")

    def part(self: Recipe, share: float) -> Recipe:
        """The same recipe with a share (0..1) of its length."""
        steps = max(1, round(self.steps * share)) if self.steps else 0
        return replace(self, steps=steps, minutes=self.minutes * share)

    def describe(self) -> dict[str, Any]:
        """The recipe as plain values for a manifest, without folders of the training machine."""
        recipe = {name: value for name, value in asdict(self).items() if not isinstance(value, Path)}
        if not self.weights.attention:
            recipe.pop("teacher")
        return recipe


class PaintingTrainer(TrainingRun[Network]):
    """One resumable, seeded run; a step's draw follows from the seed and the step alone."""

    def __init__(self, network: Network, recipe: PaintingTraining, styles: Sequence[StylePicture]) -> None:
        """Raises UserError when a folder, a file or the teacher cannot be used."""
        self.recipe = recipe
        self.photos = PhotoFolder(recipe.photos)
        self.style_pictures = [style.read() for style in styles]
        self.palettes = [Palette.of(picture) for picture in self.style_pictures]
        self._losses = PerceptualLosses(recipe.features, self.style_pictures, recipe.style_side, recipe.weights)
        self._attention = self._attention_losses() if recipe.weights.attention else None
        self.curriculum = PaintingCurriculum() if recipe.curriculum else None
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, _optimizer(network, recipe), recipe.lr, recipe.steps, recipe.minutes, recipe.ema)

    @abstractmethod
    def paint(self, network: Network, views: Views, random: np.random.Generator) -> Tensor:
        """What `network` makes of the views: (2B, 3, s, s), s at most S, in about [-1, 1], first views first."""

    @abstractmethod
    def draw_styles(self, random: np.random.Generator) -> list[int]:
        """Index of a style for each photograph of a step."""

    def update(self) -> dict[str, float]:
        losses = self.losses(self.network, np.random.default_rng((self.recipe.seed, self.step)))
        self.optimizer.zero_grad(set_to_none=True)
        conflict = self._backward(losses)
        if self.curriculum is not None:
            self.curriculum.observe(self.progress, float(_sum(losses, towards_style=True).detach()))
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        self.samples += self.recipe.batch
        return {name: float(value.detach()) for name, value in losses.items()} | conflict

    def losses(self, network: Network, random: np.random.Generator) -> dict[str, Tensor]:
        """Weighted losses by name, of what a network of this kind makes of photographs and styles that `random` draws.

        Their sum is what is minimised.
        """
        views = self._draw_views(self.draw_styles(random), random)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            painted = finished(self._coloured(network, views, random), views.both(), self.recipe.finish)
            losses = self._losses(painted, views, random)
            if self._attention is not None:
                losses |= self._attention(painted, views, random)
            if self.recipe.weights.border:
                losses["border"] = self.recipe.weights.border * self.lines_of_plain_frame(
                    network, views.styles[0], random
                )
        return losses

    def lines_of_plain_frame(self, network: Network, style: int, random: np.random.Generator) -> Tensor:
        """`border_penalty` of a plain frame of any colour; the same without grain, where `paint` adds none."""
        side = self.recipe.crop
        colour = torch.from_numpy(random.uniform(-1, 1, (1, 3, 1, 1)).astype(np.float32))
        plain = colour.expand(1, 3, side, side)
        # Any two places of the grain: were they never near each other, strokes of one could answer those of the other,
        # and the penalty would fall without end.
        row, column = (int(v) for v in random.integers(0, grain.PERIOD, 2))
        views = Views(plain, plain, (row, column), [style])
        return border_penalty(*soft_clamp(self.paint(network, views, random)).chunk(2)).mean()

    def _coloured(self, network: Network, views: Views, random: np.random.Generator) -> Tensor:
        """What `paint` makes of the views, its colours moved as the recipe says."""
        painted, share = soft_clamp(self.paint(network, views, random)), self.recipe.palette_share
        if not share:
            return painted
        return soft_clamp(moved_colours(painted, [self.palettes[index] for index in views.styles], share))

    def further_state(self) -> dict[str, Any]:
        return {"curriculum": self.curriculum.state_dict()} if self.curriculum is not None else {}

    def load_further_state(self, state: dict[str, Any]) -> None:
        if self.curriculum is not None:
            self.curriculum.load_state_dict(state["curriculum"])

    def _backward(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Gradients of the weights; with projection, whether style and picture were in conflict."""
        towards, holding = _sum(losses, towards_style=True), _sum(losses, towards_style=False)
        if self.curriculum is not None:
            style_factor, picture_factor = self.curriculum.factors()
            towards, holding = style_factor * towards, picture_factor * holding
        balanced = self.curriculum is not None and is_last_phase(self.progress)
        if not self.recipe.projection and not balanced:
            (towards + holding).backward()
            return {}
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        style = _gradient(towards, trained, retain=True)
        picture = _gradient(holding, trained, retain=False)
        conflict = {}
        if self.curriculum is not None and balanced:
            style = self.curriculum.balanced(style, picture)
        if self.recipe.projection:
            conflict = {"conflict": float(cosine(style, picture) < CONFLICT)}
            style = project_conflict(style, picture, CONFLICT)
        for parameter, a, b in zip(trained, style, picture, strict=True):
            parameter.grad = (a + b)[0]
        return conflict

    def _draw_views(self, styles: list[int], random: np.random.Generator) -> Views:
        side = self.recipe.crop
        most = self.recipe.max_shift
        crops = to_tensor([self.photos.draw(side + most, random) for _ in range(self.recipe.batch)])
        row, column = (int(v) for v in random.integers(0, most + 1, 2))
        first, second = crops[:, :, :side, :side], crops[:, :, row : row + side, column : column + side]
        spread = self.recipe.noise * random.random()
        noise = torch.from_numpy(random.standard_normal((2, *first.shape), dtype=np.float32)) * spread
        return Views((first + noise[0]).clamp(-1, 1), (second + noise[1]).clamp(-1, 1), (row, column), styles)

    def _attention_losses(self) -> AttentionLosses:
        from muon_ad_core.distill.teachers.loader import load_teacher

        recipe = self.recipe
        return AttentionLosses(load_teacher(recipe.teacher), self.style_pictures, recipe.style_side, recipe.weights)

    def _rate(self) -> float:
        """Warm-up, constant, then linear to almost zero; or as the curriculum says."""
        remaining = (1 - self.progress) / self.recipe.decay_share
        left = max(remaining, LEAST_RATE) if self.curriculum is None else rate_factor(self.progress)
        return self.learning_rate * min(1.0, (self.step + 1) / WARM_UP_STEPS, left)


def _sum(losses: dict[str, Tensor], towards_style: bool) -> Tensor:
    """Of the losses that pull towards the style, or of those that hold the picture."""
    zero = torch.zeros(())
    return sum((value for name, value in losses.items() if (name in STYLE_LOSSES) == towards_style), zero)


def _gradient(loss: Tensor, parameters: list[nn.Parameter], retain: bool) -> list[Tensor]:
    """Gradients with a leading dimension for the one sample that all weights are."""
    found = torch.autograd.grad(loss, parameters, retain_graph=retain, allow_unused=True)
    return [torch.zeros_like(p)[None] if g is None else g[None] for p, g in zip(parameters, found, strict=True)]


def _optimizer(network: nn.Module, recipe: PaintingTraining) -> Muon:
    """Convolutions by Muon; modulation, style codes, encoder, normalisations and biases by AdamW."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.ndim == 4 and "encoder" not in name] if recipe.optimizer == "muon" else []
    chosen = {id(parameter) for parameter in matrices}
    rest = [parameter for _, parameter in trained if id(parameter) not in chosen]
    groups: list[dict[str, Any]] = [
        {"params": rest, "use_muon": False, "relative_rate": recipe.adamw_lr / recipe.lr},
    ]
    if matrices:
        groups.append({"params": matrices, "use_muon": True, "relative_rate": 1.0, "weight_decay": recipe.matrix_decay})
    precision = torch.bfloat16 if has_fast_bfloat16() else torch.float32
    return Muon(groups, recipe.lr, recipe.adamw_lr, weight_decay=recipe.weight_decay, newton_schulz_dtype=precision)
