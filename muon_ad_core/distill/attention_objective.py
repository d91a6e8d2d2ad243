# SPDX-License-Identifier: Apache-2.0
"""The objective of an optimisation by attention distillation: a latent or pixel pyramid, seen by a teacher.

Called with what is optimised and the step, it returns style and content loss (see `optimisation`). Pictures are moved
by a few pixels: the loss is the same wherever a token's cell begins, and no grid of cells is printed. Moves are drawn
once and come in turn: a gradient's momentum, and the mean of a few losses, see all of them alike.
A teacher sees pixels softened, or bright specks meet its loss. What its attentions do not tell of a style, its patches
and its distributions do (`patch_matching`, `distribution_matching`), as far as their weights say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.distill.attention import Attention
from muon_ad_core.distill.attention_losses import (
    StyleTokens,
    ad_l1,
    content_loss,
    image_feature_loss,
    kl_literal,
    style_tokens,
)
from muon_ad_core.distill.distribution_matching import DistributionMatching, large_enough
from muon_ad_core.distill.feature_distribution import STYLE_TAPS, channels_last
from muon_ad_core.distill.losses import direction_distance
from muon_ad_core.distill.patch_matching import PatchMatching
from muon_ad_core.distill.pyramid import render, soften
from muon_ad_core.distill.teachers.base import Teacher

STYLE_LOSSES = ("ad_l1", "kl_literal")
TARGETS = ("pyramid", "latent")
Shift = tuple[int, int]


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is compared, and how pictures are moved.

    target: what the objective is called with, a pixel pyramid or a latent; style_loss: of STYLE_LOSSES; sites: indices
    of self-attentions, None for the teacher's default; shifts: how many different moves of a pyramid there are (content
    features are kept for each), 1 for none; shifts_per_step: how many of these a step looks at, in one batch, which
    costs less than as many steps; tile: the picture's opposite borders belong together; seed: of the moves.
    patch_weight: of the style's patches in the style loss (`patch_matching`), 0 for attention alone; needs the decoded
    picture in every step. content_share: of the photograph in what patches look for. distribution_weight: of the
    distribution of the style's colours and of what the teacher's perception finds (`distribution_matching`), and
    perception_weight: in the content loss, of what it finds where, both where the teacher has one.
    """

    target: str = "pyramid"
    style_loss: str = "ad_l1"
    sites: tuple[int, ...] | None = None
    shifts: int = 8
    shifts_per_step: int = 1
    tile: bool = False
    seed: int = 0
    patch_weight: float = 0.0
    content_share: float = 0.0
    distribution_weight: float = 0.0
    perception_weight: float = 0.0


@dataclass(frozen=True)
class Regions:
    """Labels of the picture's pixels (H, W) and of every style picture's; style goes from label to like label."""

    picture: Tensor
    styles: tuple[Tensor, ...]


class AttentionObjective:
    """Style and content loss of a picture of one size; features that repeat are computed once a time.

    styles: pictures (1, 3, H, W) in [-1, 1], any sides that are multiples of the teacher's stride; content: picture of
    the size that is optimised, None for textures; steps: length of the run, which fixes its times; image_features:
    adds the distance of these features to the content loss.
    """

    def __init__(
        self,
        teacher: Teacher,
        styles: Sequence[Tensor],
        content: Tensor | None,
        steps: int,
        settings: ObjectiveSettings,
        regions: Regions | None = None,
        image_features: Callable[[Tensor], Sequence[Tensor]] | None = None,
    ) -> None:
        self.teacher, self.settings = teacher, settings
        self.sites = teacher.check_sites(teacher.default_sites if settings.sites is None else settings.sites)
        self._styles, self._content, self._regions = list(styles), content, regions
        self._times = teacher.times(steps)
        self._moves = self._draw_moves()
        self._image_features = image_features
        self._image_targets = None
        if image_features is not None and content is not None:
            with torch.no_grad():
                self._image_targets = image_features(content)
        self._cached_time: float | None = None
        self._style_attentions: list[list[Attention]] = []
        self._style_tokens: list[StyleTokens] = []
        self._content_attentions: dict[Shift, list[Attention]] = {}
        self._content_perceived: dict[Shift, Mapping[int, Tensor]] = {}
        labels = None if regions is None else regions.styles
        self._patches = None
        if settings.patch_weight:
            self._patches = PatchMatching(
                self._styles, settings.seed, content, settings.content_share, labels, settings.tile
            )
        self._distribution = None
        if settings.distribution_weight and teacher.perception is not None:
            self._distribution = DistributionMatching(teacher.perception, self._styles, settings.seed, labels)

    def __call__(self, target: Any, step: int) -> tuple[Tensor, Tensor | None]:
        time = self._times[min(step, len(self._times) - 1)]
        self._look_at_styles(time)
        shifts = self._shifts(step)
        found = self.teacher.features(self._latent(target, shifts), time, self.sites)
        style = self._style_loss(found, shifts)
        if self._patches is not None:
            labels = None if self._regions is None else self._regions.picture
            style = style + self.settings.patch_weight * self._patches(self.picture(target), step, labels)
        content = self._content_loss(found, time, shifts, target)
        if self._distribution is None and not self._perceives_content:
            return style, content
        moved = large_enough(self._move(self.picture(target), shifts[0]))
        perceived = self._perceive(moved)
        if self._distribution is not None:
            labels = None if self._regions is None else self._moved_labels(self._regions, shifts[0])
            style = style + self.settings.distribution_weight * self._distribution(moved, perceived, step, labels)
        if content is not None and self._perceives_content:
            content = content + self.settings.perception_weight * self._perceptual_distance(perceived, shifts[0])
        return style, content

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on needs of its past."""
        return {} if self._patches is None else self._patches.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        if self._patches is not None:
            self._patches.load_state_dict(state)

    def _shifts(self, step: int) -> list[Shift]:
        """The moves of a step; at most all of them."""
        count, moves = min(self.settings.shifts_per_step, len(self._moves)), self._moves
        return [moves[(step * count + index) % len(moves)] for index in range(count)]

    def _style_loss(self, found: list[Attention], shifts: list[Shift]) -> Tensor:
        if self.settings.style_loss == "kl_literal":
            size = self._styles[0].shape[2:]
            grids = [token_grid(size, a.query.shape[2]) for a in self._style_attentions[0]]
            return kl_literal(found, self._style_attentions[0], grids)
        if self._regions is None:
            return ad_l1(found, self._style_tokens)
        moved = [self._moved_labels(self._regions, shift) for shift in shifts]
        counts = [a.query.shape[2] for a in found]
        return ad_l1(found, self._style_tokens, [torch.stack([token_labels(m, n) for m in moved]) for n in counts])

    def _content_loss(self, found: list[Attention], time: float, shifts: list[Shift], target: Any) -> Tensor | None:
        if self._content is None:
            return None
        sites = zip(*(self._content_at(self._content, shift, time) for shift in shifts), strict=True)
        loss = content_loss(found, [replace(site[0], query=torch.cat([a.query for a in site])) for site in sites])
        if self._image_features is not None and self._image_targets is not None:
            loss = loss + image_feature_loss(self._image_features, self.picture(target), self._image_targets)
        return loss

    @property
    def _perceives_content(self) -> bool:
        return (
            bool(self.settings.perception_weight) and self._content is not None and self.teacher.perception is not None
        )

    def _perceive(self, pictures: Tensor) -> dict[int, Tensor]:
        assert self.teacher.perception is not None
        return self.teacher.perception(channels_last(pictures), STYLE_TAPS)

    def _perceptual_distance(self, perceived: Mapping[int, Tensor], shift: Shift) -> Tensor:
        """From what is perceived of the content picture moved alike, which is computed once; mean over the layers."""
        assert self._content is not None
        if shift not in self._content_perceived:
            with torch.no_grad():
                self._content_perceived[shift] = self._perceive(large_enough(self._move(self._content, shift)))
        wanted = self._content_perceived[shift]
        return torch.stack([direction_distance(perceived[tap], wanted[tap]).mean() for tap in STYLE_TAPS]).mean()

    def _content_at(self, content: Tensor, shift: Shift, time: float) -> list[Attention]:
        """The attentions of the moved content picture; computed once a time."""
        if shift not in self._content_attentions:
            with torch.no_grad():
                # One level is a pyramid, too.
                still = self.teacher.encode(content) if self.settings.target == "latent" else [content]
                latent = self._latent(still, [shift])
                self._content_attentions[shift] = self.teacher.features(latent, time, self.sites)
        return self._content_attentions[shift]

    def picture(self, target: Any) -> Tensor:
        """The picture (B, 3, H, W) that the target stands for."""
        return self.teacher.decode(target) if self.settings.target == "latent" else render(target)

    def _latent(self, target: Any, shifts: list[Shift]) -> Tensor:
        """What the teacher sees of a target: a batch of it, moved."""
        if self.settings.target == "latent":
            return torch.cat([torch.roll(target, shift, (2, 3)) for shift in shifts]) if self.settings.tile else target
        picture = render(target)
        return self.teacher.encode(soften(torch.cat([self._move(picture, shift) for shift in shifts])))

    def _move(self, picture: Tensor, shift: Shift) -> Tensor:
        """Pixels (B, C, H, W) rolled where they tile, else moved inside a margin of mirrored pixels."""
        if self.settings.tile:
            return torch.roll(picture, shift, (2, 3))
        stride = self.teacher.stride
        if len(self._moves) == 1:
            return picture
        down, right = shift
        return F.pad(picture, (right, stride - right, down, stride - down), mode="reflect")

    def _draw_moves(self) -> list[Shift]:
        """Rows and columns, none first; in latents whole positions, in pixels all offsets inside a token's cell."""
        settings = self.settings
        random = np.random.default_rng([settings.seed, 0x5EED])
        if settings.target == "latent" and not settings.tile:
            return [(0, 0)]
        extent = 1024 if settings.tile else self.teacher.stride
        return [(0, 0), *((int(a), int(b)) for a, b in random.integers(extent, size=(settings.shifts - 1, 2)))]

    def _moved_labels(self, regions: Regions, shift: Shift) -> Tensor:
        return self._move(regions.picture[None, None].float(), shift)[0, 0]

    def _look_at_styles(self, time: float) -> None:
        """Features of the style pictures at a time; kept until the time changes, as the content's are."""
        if time == self._cached_time:
            return
        self._cached_time = time
        self._content_attentions.clear()
        with torch.no_grad():
            sharp = self.settings.target == "latent"
            latents = [self.teacher.encode(style if sharp else soften(style)) for style in self._styles]
            attentions = [self.teacher.features(latent, time, self.sites) for latent in latents]
        labels = None
        if self._regions is not None:
            pairs = zip(self._regions.styles, attentions, strict=True)
            labels = [[token_labels(map_, a.key.shape[2]) for a in sites] for map_, sites in pairs]
        self._style_tokens = style_tokens(attentions, labels)
        self._style_attentions = attentions if self.settings.style_loss == "kl_literal" else []


def token_grid(size: Sequence[int], count: int) -> tuple[int, int]:
    """(rows, columns) of `count` tokens that cover a picture of size (height, width)."""
    rows = max(1, round((count * size[0] / size[1]) ** 0.5))
    while count % rows:
        rows -= 1
    return rows, count // rows


def token_labels(labels: Tensor, count: int) -> Tensor:
    """Labels (N,) of `count` tokens, each that of the pixel (H, W) at its middle."""
    grid = token_grid(labels.shape, count)
    return F.interpolate(labels[None, None].float(), grid, mode="nearest-exact").round().long().flatten()
