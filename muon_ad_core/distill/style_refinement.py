# SPDX-License-Identifier: Apache-2.0
"""A style's code made better by the perceptual objective, through the student whose weights stay as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muon_ad_core.distill.feature_distribution import DIRECTIONS, STYLE_TAPS, style_distance, style_targets
from muon_ad_core.distill.features import SqueezeNetFeatures, load_feature_network
from muon_ad_core.distill.finishing import finished, moved_colours, shrunk
from muon_ad_core.distill.losses import content_distance
from muon_ad_core.distill.painting_losses import CONTENT_TAP
from muon_ad_core.distill.pictures import list_pictures, read_picture, resize_long_side, to_picture, to_tensor
from muon_ad_core.distill.student_graphs import NamedExit
from muon_ad_core.distill.student_package import named_exit
from muon_ad_core.engine.frames import MULTIPLE, central_square
from muon_ad_core.engine.grain import Grain, grain_of
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import UserError
from muon_ad_core.palette import USUAL_SHARE, Palette
from muon_ad_core.sources.photographs import load_photograph

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
)
"""Of scikit-image, where no folder is given."""
MOST_PHOTOGRAPHS = 12
JUDGES = 2
"""Photographs that are left out of the optimisation and judge it."""
STYLE_WEIGHT = 2.5
"""Of the style beside content: what the shipped student was trained with."""
SIDE = 192
STYLE_SIDE = 448
LEARNING_RATE = 0.05
STAY_WEIGHT = 0.02
"""Holds the code near the encoder's, the region that the student was trained in."""
CHECK_EVERY = 15


@dataclass(frozen=True)
class Refinement:
    """code: the better one of both; before, after: objective on the judging photographs; better: it was refined."""

    code: np.ndarray
    before: float
    after: float
    steps: int
    seconds: float

    @property
    def better(self) -> bool:
        """Whether the refined code was kept."""
        return self.after < self.before


@dataclass(frozen=True)
class Photographs:
    """Pictures (B, 3, SIDE, SIDE) in [-1, 1], and the grain in grey levels that they get before they are painted."""

    plain: Tensor
    grain: float

    def seen(self, scale: float) -> Tensor:
        """What is painted of them: about `scale` times as large, in whole cells, with grain."""
        side = max(1, round(SIDE * scale / MULTIPLE)) * MULTIPLE
        adding = Grain(self.grain, side, side)
        pictures = [to_picture(picture) for picture in shrunk(self.plain, (side, side))]
        for number, picture in enumerate(pictures):
            adding.add(picture, picture, number * side)
        return to_tensor(pictures)

    def __len__(self) -> int:
        return len(self.plain)

    def __getitem__(self, which: slice) -> Photographs:
        return Photographs(self.plain[which], self.grain)


def refine_style(
    package: EnginePackage,
    code: np.ndarray,
    pictures: Sequence[np.ndarray],
    features: Path,
    seconds: float,
    photos: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Refinement:
    """Optimise `code` (code_length,) for style pictures (H, W, 3) RGB uint8 for at most `seconds`, all told.

    features: SqueezeNet 1.1 weights; photos: folder of photographs. Levels take turns, since all paint by one code. The
    best code on photographs that the optimisation does not see is taken, the given one when none is better. Raises
    UserError when a file cannot be used.
    """
    began = clock()
    levels = [named_exit(package, level.name) for level in package.levels]
    objective = _Objective(load_feature_network(features), pictures)
    photographs = _photographs(photos, grain_of(package))
    judges, taught = photographs[:JUDGES], photographs[JUDGES:]
    start = torch.from_numpy(np.ascontiguousarray(code, np.float32))[None]
    refined = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([refined], LEARNING_RATE)
    random, judging_began = np.random.default_rng(0), clock()
    before = objective.judge(judges, start, levels)
    best, best_value, step = start, before, 0
    longest = 2 * (clock() - judging_began)  # of a step, which goes backwards too, or a judgement
    while clock() - began + 2 * longest < seconds:  # there must be time left for a judgement
        step_began = clock()
        index = int(random.integers(len(taught)))
        painted = objective(taught[index : index + 1], refined, levels[step % len(levels)])
        loss = painted + STAY_WEIGHT * (refined - start).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % CHECK_EVERY == 0:
            value = objective.judge(judges, refined, levels)
            if value < best_value:
                best, best_value = refined.detach().clone(), value
        longest = max(longest, clock() - step_began)
    return Refinement(best[0].numpy(), before, best_value, step, clock() - began)


class _Objective:
    """The student trainer's style and content terms, for one style."""

    def __init__(self, network: SqueezeNetFeatures, pictures: Sequence[np.ndarray]) -> None:
        self._network = network
        views = [to_tensor([resize_long_side(picture, STYLE_SIDE)]) for picture in pictures]
        self._targets = [style_targets(network, view) for view in views]
        self._palette = Palette.mean_of([Palette.of(picture) for picture in pictures])

    @torch.no_grad()
    def judge(self, photographs: Photographs, code: Tensor, levels: Sequence[NamedExit]) -> float:
        """Mean over levels."""
        return float(np.mean([float(self(photographs, code, level)) for level in levels]))

    def __call__(self, photographs: Photographs, code: Tensor, level: NamedExit) -> Tensor:
        """Mean over photographs and style pictures, as a level paints them."""
        codes = code + level.student.context(photographs.plain)
        painted = level.student(photographs.seen(level.scale), codes, level.exit).clamp(-1, 1)
        painted = moved_colours(painted, [self._palette] * len(painted), USUAL_SHARE).clamp(-1, 1)
        painted = finished(painted, photographs.plain, level.finish)
        found = self._network(painted, sorted({*STYLE_TAPS, CONTENT_TAP}))
        with torch.no_grad():
            wanted = self._network(photographs.plain, (CONTENT_TAP,))[CONTENT_TAP]
        every, count = range(DIRECTIONS), len(painted)
        distances = [style_distance(self._network, painted, found, [t] * count, every) for t in self._targets]
        style = torch.stack(distances).mean()
        content = content_distance(found[CONTENT_TAP], wanted).mean()
        return STYLE_WEIGHT * style + content


def _photographs(folder: Path | None, grain: float) -> Photographs:
    """Central squares; the first ones judge."""
    if folder is None:
        pictures = [load_photograph(name) for name in PHOTOGRAPHS]
    else:
        read = (read_picture(path) for path in list_pictures(folder)[:MOST_PHOTOGRAPHS])
        pictures = [picture for picture in read if picture is not None]
    if len(pictures) <= JUDGES:
        raise UserError(f"refining needs more than {JUDGES} photographs that can be read, {folder} has {len(pictures)}")
    squares = [central_square(picture, SIDE) for picture in pictures]
    return Photographs(to_tensor(squares), grain)
