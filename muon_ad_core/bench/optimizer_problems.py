# SPDX-License-Identifier: Apache-2.0
"""What optimisers are compared on: a photograph to be painted in a style, as a teacher's attentions see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from muon_ad_core.compress.entropy_masks import AttentionSite, EntropyMask, attention_entropy, choose_mask
from muon_ad_core.distill.attention import Attention
from muon_ad_core.distill.attention_objective import AttentionObjective, ObjectiveSettings
from muon_ad_core.distill.optimisation import Objective
from muon_ad_core.distill.pictures import to_picture, to_tensor
from muon_ad_core.distill.pyramid import level_count, split
from muon_ad_core.distill.teachers.base import Teacher
from muon_ad_core.engine.frames import central_square

PAPERS_CONTENT_WEIGHT = 0.25
Judge = Callable[[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]], Mapping[str, float]]
"""(result, content, style), RGB uint8 of one size, to figures by name."""


class Problem(Protocol):
    """One pair of pictures under one seed; everything it hands out is new, so that runs share no caches.

    content_weight: lambda of style + lambda * content.
    """

    name: str

    @property
    def content_weight(self) -> float: ...

    def start(self) -> Any:
        """The latent, or pyramid, that every run begins with."""
        ...

    def objective(self, shifts_per_step: int = 1) -> Objective:
        """Style and content loss at all sites; shifts_per_step: see `ObjectiveSettings`."""
        ...

    def masked_objective(self) -> tuple[Objective, EntropyMask]:
        """The same at the sites and heads that the entropy mask keeps, and that mask."""
        ...

    def judge(self, latent: Any) -> Mapping[str, float]:
        """Figures of the finished picture, of another kind than the loss; may be empty."""
        ...


@dataclass(frozen=True)
class AttentionProblem:
    """A content picture (1, 3, H, W) and a style picture of that size before a teacher; sides fit its stride.

    The losses are the paper's, attentions alone: what a picture's patches find (`patch_matching`) changes as it is
    painted, and a loss of which half depends on the number of searches compares searches and not steps.
    moves: see `ObjectiveSettings.shifts`; with 1 the loss of every step is of the same picture and does not wobble.
    """

    name: str
    teacher: Teacher
    content: torch.Tensor
    style: torch.Tensor
    steps: int
    seed: int
    judge_pictures: Judge | None = None
    moves: int = 8

    @property
    def content_weight(self) -> float:
        """The paper's."""
        return PAPERS_CONTENT_WEIGHT

    def start(self) -> Any:
        """See `Problem.start`."""
        if self.teacher.target == "latent":
            return self.teacher.encode(self.content).detach().float()
        return [level.clone() for level in split(self.content, level_count(*self.content.shape[2:]))]

    def objective(self, shifts_per_step: int = 1) -> AttentionObjective:
        """See `Problem.objective`."""
        return self._objective(self.teacher, None, shifts_per_step)

    def masked_objective(self) -> tuple[Objective, EntropyMask]:
        """See `Problem.masked_objective`; the entropies are those of the style picture."""
        sites, time = self.teacher.default_sites, self.teacher.times(1)[0]
        with torch.no_grad():
            found = self.teacher.features(self.teacher.encode(self.style), time, sites)
        described = [
            AttentionSite(self.teacher.sites[site], a.query.shape[2], a.key.shape[2], *a.query.shape[1::2])
            for site, a in zip(sites, found, strict=True)
        ]
        mask = choose_mask(described, [attention_entropy(a.query, a.key)[0] for a in found])
        kept = tuple(site for site, keep in zip(sites, mask.layers, strict=True) if keep)
        heads = {site: torch.tensor(h).nonzero()[:, 0] for site, h in zip(sites, mask.heads, strict=True)}
        return self._objective(MaskedTeacher(self.teacher, heads), kept), mask

    def judge(self, latent: Any) -> Mapping[str, float]:
        """See `Problem.judge`."""
        if self.judge_pictures is None:
            return {}
        with torch.no_grad():
            shown = self.objective().picture(latent)[0].clamp(-1, 1)
        return self.judge_pictures(to_picture(shown), to_picture(self.content[0]), to_picture(self.style[0]))

    def _objective(
        self, teacher: Teacher, sites: tuple[int, ...] | None, shifts_per_step: int = 1
    ) -> AttentionObjective:
        settings = ObjectiveSettings(
            self.teacher.target, sites=sites, shifts=self.moves, shifts_per_step=shifts_per_step, seed=self.seed
        )
        return AttentionObjective(teacher, [self.style], self.content, self.steps, settings)


class MaskedTeacher(Teacher):
    """A teacher that shows chosen heads only; `heads`: their indices for every site."""

    def __init__(self, teacher: Teacher, heads: Mapping[int, torch.Tensor]) -> None:
        self._teacher, self._heads = teacher, heads
        self.name, self.stride, self.sites, self.target = teacher.name, teacher.stride, teacher.sites, teacher.target

    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        return self._teacher.encode(picture)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self._teacher.decode(latent)

    def times(self, steps: int) -> list[float]:
        return self._teacher.times(steps)

    def features(self, latent: torch.Tensor, time: float, sites: Sequence[int]) -> list[Attention]:
        found = self._teacher.features(latent, time, sites)
        return [
            replace(a, **{name: getattr(a, name)[:, self._heads[site]] for name in ("query", "key", "value", "output")})
            for site, a in zip(sites, found, strict=True)
        ]


def make_pairs(
    teacher: Teacher,
    contents: Sequence[tuple[str, NDArray[np.uint8]]],
    styles: Sequence[tuple[str, NDArray[np.uint8]]],
    size: int,
    steps: int,
    judge: Judge | None = None,
    moves: int = 8,
) -> list[Callable[[int], AttentionProblem]]:
    """Every content with every style as squares of `size` pixels; each entry makes the problem for a seed.

    contents, styles: names and RGB uint8 pictures of any size; their central squares are taken.
    """
    squares = {name: to_tensor([central_square(picture, size)]) for name, picture in [*contents, *styles]}

    def problem(content: str, style: str) -> Callable[[int], AttentionProblem]:
        return lambda seed: AttentionProblem(
            f"{content} as {style}", teacher, squares[content], squares[style], steps, seed, judge, moves
        )

    return [problem(content, style) for content, _ in contents for style, _ in styles]


def perceptual_judge(weights: Path) -> Judge:
    """Style distance and content LPIPS by SqueezeNet 1.1; raises a UserError when the weights cannot be read."""
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

    network = PerceptualNetwork(weights)

    def judge(result: NDArray[np.uint8], content: NDArray[np.uint8], style: NDArray[np.uint8]) -> Mapping[str, float]:
        return {
            f"style_distance[{network.name}]": float(np.mean(network.style_distance(result[None], style[None]))),
            f"content_LPIPS[{network.name}]": float(np.mean(network.lpips(result[None], content[None]))),
        }

    return judge
