# SPDX-License-Identifier: Apache-2.0
"""Training of the student and its style encoder on folders of photographs and styles."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muon_ad_core.distill.finishing import shrunk
from muon_ad_core.distill.losses import BORDER
from muon_ad_core.distill.painting_curriculum import is_last_phase
from muon_ad_core.distill.painting_losses import Views
from muon_ad_core.distill.painting_trainer import PaintingTrainer, PaintingTraining
from muon_ad_core.distill.pictures import StylePicture, chosen_styles, list_styles, random_crop, to_tensor
from muon_ad_core.distill.weight_standardisation import plain_state, standardise
from muon_ad_core.engine import finishing, grain
from muon_ad_core.engine.frames import MULTIPLE, central_square
from muon_ad_core.errors import UserError
from muon_ad_core.nets.rectifier import set_slope
from muon_ad_core.nets.student import LEVELS, Level, Student, StudentConfig
from muon_ad_core.nets.style_encoder import ENCODER_SIZE, StyleEncoder
from muon_ad_core.palette import USUAL_SHARE

LEAK_SHARE = 0.7
"""Part of the run in which the leak falls to zero."""
CODED_SHARE = 0.8
"""How often a shipped style has its learned offset; else it is taught as any other picture, to the encoder."""


@dataclass(kw_only=True)
class StudentTraining(PaintingTraining):
    """Recipe of a student.

    styles, extra_styles: folders; shipped: names of the styles that go into the package (drawn with probability
    `shipped_share`, the rest teach the encoder what styles are); palettes: how many more styles each picture that
    does not ship gives, with its colour channels in another order, at most 5; parts: whether parts of the pictures
    of `styles` are styles that do not ship, too; frozen_codes: encoder, offsets and context are not trained, so
    that codes stay those of the student that the run started from; frozen_student: nothing else is trained, and the
    shipped styles keep their codes, while the encoder learns to make better ones of other pictures; palette_share,
    finish: as the runtime has them; grain: likewise, in grey levels; leak: slope below zero of all rectifiers when the
    run begins (without it, most units of the body had no gradient left after 1,300 steps), which it loses on the
    way; standardised: whether filters are (see `weight_standardisation`), but for those that begin as the picture's
    patterns; levels: exits that are trained; scale: of a frame's size (up to 1), at which the level that is trained
    paints: strokes are judged at the size at which they are shown.
    """

    styles: Path
    shipped: list[str]
    extra_styles: Path | None = None
    shipped_share: float = 0.7
    frozen_codes: bool = False
    frozen_student: bool = False
    palettes: int = 0
    parts: bool = False
    palette_share: float = USUAL_SHARE
    finish: finishing.Finish = finishing.USUAL
    grain: float = grain.USUAL
    leak: float = 0.1
    standardised: bool = True
    levels: tuple[Level, ...] = LEVELS
    scale: float = 1.0
    network: StudentConfig = field(default_factory=StudentConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frozen_codes and self.frozen_student:
            raise UserError("with both the student and its codes frozen there is nothing to train: leave one out")
        if self.crop % MULTIPLE:
            raise UserError(f"crops must be multiples of {MULTIPLE} pixels, not {self.crop}")
        if not 0 < self.scale <= 1 or self.painted_side % MULTIPLE or self.painted_side <= 2 * BORDER:
            raise UserError(
                f"crops of {self.crop} pixels cannot be painted at {self.scale:g} of their size: what is painted must "
                f"have a multiple of {MULTIPLE} and more than {2 * BORDER} pixels along a side"
            )

    @property
    def painted_side(self) -> int:
        """Pixels along a side of what is painted of a view."""
        return round(self.crop * self.scale)

    def describe(self) -> dict[str, Any]:
        recipe = super().describe()
        for name in ("shipped", "network", "extra_styles"):
            recipe.pop(name, None)
        return recipe


class StyledStudent(nn.Module):
    """Student, encoder and one learned offset per shipped style, trained together.

    The code of a shipped style is the encoder's code plus its offset, so it can say more than one pass of the encoder
    sees, while the encoder alone serves unseen pictures.
    """

    def __init__(self, config: StudentConfig, shipped: int) -> None:
        super().__init__()
        self.student = Student(config)
        self.encoder = StyleEncoder(config.code)
        # Far apart from the start: from equal codes the styles take thousands of steps to part.
        self.offsets = nn.Parameter(torch.randn(shipped, config.code))

    def code(self, pictures: Tensor, indices: Tensor) -> Tensor:
        """Codes of style pictures (B, 3, E, E); indices (B,) name the shipped style, -1 for none."""
        known = (indices >= 0).float()[:, None]
        return self.encoder(pictures) + known * self.offsets[indices.clamp(min=0)]


class StudentTrainer(PaintingTrainer[StyledStudent]):
    """One resumable, seeded training run."""

    def __init__(self, recipe: StudentTraining) -> None:
        """Raises UserError for a style that is to be shipped and not there, or files that cannot be used."""
        torch.manual_seed(recipe.seed)
        self.styles = _ordered_styles(recipe)
        network = StyledStudent(recipe.network, len(recipe.shipped))
        if recipe.standardised:
            standardise(network, _paints)
        if recipe.frozen_codes:
            network.encoder.requires_grad_(False)
            network.student.context.requires_grad_(False)
            network.offsets.requires_grad_(False)
        if recipe.frozen_student:
            network.student.requires_grad_(False)
            network.offsets.requires_grad_(False)
        self._kept_codes: Tensor | None = None
        self._student_recipe = recipe
        super().__init__(network, recipe, self.styles)

    def identity(self) -> dict[str, Any]:
        return {"network": self._student_recipe.network.to_dict(), "shipped": self.shipped}

    def update(self) -> dict[str, float]:
        slope = self._student_recipe.leak * max(0.0, 1 - self.progress / LEAK_SHARE)
        set_slope(self.network, slope)
        set_slope(self.average, slope)
        if self.curriculum is not None and is_last_phase(self.progress):
            self.network.encoder.requires_grad_(False)
        return super().update()

    @property
    def grain(self) -> float:
        """What pictures get before they are painted, in grey levels."""
        return self._student_recipe.grain

    @property
    def shipped(self) -> list[str]:
        """Names of the styles that go into the package."""
        return self._student_recipe.shipped

    @property
    def scales(self) -> dict[Level, float]:
        """Of a frame's size, at which the levels paint that were trained."""
        return dict.fromkeys(self._student_recipe.levels, self._student_recipe.scale)

    def start_from(self, model: StyledStudent, shipped: list[str]) -> None:
        """Take over a trained student of the same shape, with the offsets of those `shipped` styles that it has.

        Raises ValueError when filters are to be standardised: those of a trained student have means that count.
        """
        if self._student_recipe.standardised:
            raise ValueError("a run from trained weights keeps their filters as they are: standardised=False")
        weights = model.state_dict()
        offsets = self.network.offsets.detach().clone()
        for index, name in enumerate(self.shipped):
            if name in shipped:
                offsets[index] = weights["offsets"][shipped.index(name)]
        weights["offsets"] = offsets
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)
        if self._student_recipe.frozen_student:
            self._kept_codes = self._encoded(self.average) + self.average.offsets

    def further_state(self) -> dict[str, Any]:
        return {**super().further_state(), "kept_codes": self._kept_codes}

    def load_further_state(self, state: dict[str, Any]) -> None:
        super().load_further_state(state)
        self._kept_codes = state.get("kept_codes")

    def finished(self) -> StyledStudent:
        """The averaged network as it is exported: plain filters and rectifiers."""
        network = StyledStudent(self._student_recipe.network, len(self.shipped)).eval().requires_grad_(False)
        network.load_state_dict(plain_state(self.average))
        if self._kept_codes is not None:
            network.offsets.copy_(self._kept_codes - self._encoded(network))
        return network

    def style_codes(self) -> dict[str, np.ndarray]:
        """Codes (code,) float32 of the shipped styles under the averaged weights."""
        network = self.finished()
        return dict(zip(self.shipped, (self._encoded(network) + network.offsets).numpy()))

    @torch.no_grad()
    def _encoded(self, network: StyledStudent) -> Tensor:
        """What the encoder makes of the pictures of the shipped styles, (styles, code)."""
        pictures = self.style_pictures[: len(self.shipped)]
        return torch.cat([network.encoder(to_tensor([central_square(p, ENCODER_SIZE)])) for p in pictures])

    def draw_styles(self, random: np.random.Generator) -> list[int]:
        known, share = len(self.shipped), self._student_recipe.shipped_share
        indices = []
        for _ in range(self.recipe.batch):
            other = known < len(self.styles) and random.random() >= share
            indices.append(int(random.integers(known, len(self.styles)) if other else random.integers(known)))
        return indices

    def paint(self, network: StyledStudent, views: Views, random: np.random.Generator) -> Tensor:
        """Both views of every photograph, equally many photographs at each level, turn about."""
        views = self._as_seen(views)
        # One context for both views: a camera's motion hardly changes the scene as a whole.
        codes = self._codes(network, views, random) + network.student.context(views.first)
        first, second = with_grain(views, self._student_recipe.grain, random)
        levels, count = self._student_recipe.levels, len(first)
        painted: list[list[Tensor]] = [[], []]
        for index in range(len(levels)):
            level = levels[(index + self.step + 1) % len(levels)]
            part = slice(index * count // len(levels), (index + 1) * count // len(levels))
            pictures = torch.cat([first[part], second[part]])
            if len(pictures):
                both = network.student(pictures, codes[part].repeat(2, 1), level).chunk(2)
                for view, one in zip(painted, both, strict=True):
                    view.append(one)
        return torch.cat(painted[0] + painted[1])

    def _as_seen(self, views: Views) -> Views:
        """The views at the size at which they are painted."""
        side = self._student_recipe.painted_side
        first, second = (shrunk(pictures, (side, side)) for pictures in (views.first, views.second))
        row, column = (round(moved * side / self.recipe.crop) for moved in views.shift)
        return Views(first, second, (row, column), views.styles)

    def _codes(self, network: StyledStudent, views: Views, random: np.random.Generator) -> Tensor:
        """Codes of the photographs' styles, each from a view of the style picture."""
        crops = [random_crop(self.style_pictures[i], ENCODER_SIZE, (1.0, 1.3), random) for i in views.styles]
        known = [i if i < len(self.shipped) and self._coded(random) else -1 for i in views.styles]
        return network.code(to_tensor(crops), torch.tensor(known))

    def _coded(self, random: np.random.Generator) -> bool:
        """With frozen codes the offset is always added: the code that ships is the one that the student serves. With a
        frozen student it is never: the encoder learns."""
        if self._student_recipe.frozen_student:
            return False
        return self._student_recipe.frozen_codes or random.random() < CODED_SHARE


def with_grain(views: Views, spread: float, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Both views with grain that belongs to the scene (see `engine.grain`), for each photograph another part of it."""
    if not spread:
        return views.first, views.second
    tile = (torch.from_numpy(grain.grain_tile(spread).astype(np.float32)) - grain.MIDDLE) / 127.5
    count, _, height, width = views.first.shape
    starts = random.integers(0, grain.PERIOD, (count, 2))

    def seen(pictures: Tensor, shift: tuple[int, int]) -> Tensor:
        parts = []
        for start in starts:
            rows, columns = (
                torch.arange(side) + int(begin) + moved
                for side, begin, moved in zip((height, width), start, shift, strict=True)
            )
            parts.append(tile[rows % grain.PERIOD][:, columns % grain.PERIOD])
        return (pictures + torch.stack(parts)[:, None]).clamp(-1, 1)

    return seen(views.first, (0, 0)), seen(views.second, views.shift)


def _paints(name: str) -> bool:
    """Whether the convolution of this name is none of those that hold patterns of the picture."""
    return name.rpartition(".")[2] not in ("stem", "up_detail", "fast_head", "fine_head")


def checkpoint_state(file: Path) -> tuple[StudentConfig, int]:
    """Sizes of the student in a checkpoint, and its steps. Raises UserError when it cannot be read."""
    try:
        saved = torch.load(file, weights_only=True, mmap=True)
        return StudentConfig.from_dict(saved["identity"]["network"]), int(saved["step"])
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"cannot resume from {file}, it is damaged: delete it to start again.") from error


def _ordered_styles(recipe: StudentTraining) -> list[StylePicture]:
    """Shipped styles first, in the order asked for, then every other one."""
    shipped = chosen_styles(recipe.styles, recipe.shipped)
    every = list_styles(recipe.styles)
    others = [style for style in every if style.name not in recipe.shipped]
    others += [part for style in every for part in style.parts()] if recipe.parts else []
    others += list_styles(recipe.extra_styles) if recipe.extra_styles else []
    return shipped + others + [other for style in others for other in style.other_palettes(recipe.palettes)]
