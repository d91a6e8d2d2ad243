# SPDX-License-Identifier: Apache-2.0
"""Paint a photograph in the style of paintings, or a texture of them, by optimising against a teacher's attentions.

    from muon_ad_core.distill.synthesis import synthesize
    result = synthesize(["painting.jpg"], content="photo.jpg", size=512)
    result.save("out.png")
    print(result.seconds, result.peak_mb)

The picture is optimised coarse to fine: most steps at a size where they are cheap, the last ones at full size. The same
pictures, settings and seed give the same result on the same machine and number of threads.
"""

from __future__ import annotations

import pickle
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muon_ad_core.distill.attention_objective import AttentionObjective
from muon_ad_core.distill.colour_transfer import transfer_colours
from muon_ad_core.distill.optimisation import LatentOptimisation, StepStatistics
from muon_ad_core.distill.picture_files import write_rgb
from muon_ad_core.distill.pictures import to_picture
from muon_ad_core.distill.pyramid import refine, starting_pyramid
from muon_ad_core.distill.synthesis_inputs import Stage, SynthesisInputs, plan_stages
from muon_ad_core.distill.synthesis_settings import SynthesisSettings, content_share
from muon_ad_core.distill.teachers.base import Teacher
from muon_ad_core.errors import UserError

COST_OF_DOUBLING = 4.0
"""A step at twice the size costs about that much more: four times the pixels."""


@dataclass(frozen=True)
class Progress:
    """Where a synthesis is: the statistics of the step just taken, of all steps, and an estimate of what is left."""

    statistics: StepStatistics
    step: int
    steps: int
    size: tuple[int, int]
    seconds_left: float


@dataclass(frozen=True)
class Synthesized:
    """A finished picture, RGB uint8 (H, W, 3), the loss of every step, and what it cost.

    seconds: computing time of the wall clock, interruptions left out; peak_mb: most memory the process has held.
    """

    picture: NDArray[np.uint8]
    losses: tuple[float | None, ...]
    seconds: float
    peak_mb: float

    def save(self, path: str | Path) -> None:
        """Write the picture in the format of the ending; raises SourceError when it cannot be written."""
        write_rgb(Path(path), self.picture)


class Synthesis:
    """One run; `advance()` takes one step, `save()` and `load()` interrupt and continue it exactly."""

    def __init__(self, teacher: Teacher, inputs: SynthesisInputs, settings: SynthesisSettings) -> None:
        """Raises UserError for settings or pictures that do not go together."""
        self.teacher, self.inputs, self.settings = teacher, inputs, settings
        self.stages = plan_stages(settings, inputs, teacher)
        self.losses: list[float | None] = []
        self.seconds = 0.0
        self._stage = 0
        self._seconds_per_step = 0.0
        self._begin_stage(None)

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(stage.steps for stage in self.stages)

    def advance(self) -> Progress:
        """Take one step."""
        began = time.perf_counter()
        if self._optimisation.steps_done == self.stages[self._stage].steps:
            self._stage += 1
            self._begin_stage(self._optimisation.latent)
        statistics = self._optimisation.step(self._objective)
        taken = time.perf_counter() - began
        self.losses.append(statistics.loss)
        self.seconds += taken
        first = self._optimisation.steps_done == 1  # pays for the style's features
        self._seconds_per_step = taken if first else 0.8 * self._seconds_per_step + 0.2 * taken
        stage = self.stages[self._stage]
        return Progress(statistics, self.step, self.steps, (stage.height, stage.width), self._seconds_left())

    def run(self, after_step: Callable[[Progress], object] = lambda progress: None) -> Synthesized:
        """Go on to the end; `after_step` is called after every step."""
        while self.step < self.steps:
            after_step(self.advance())
        return Synthesized(self.picture(), tuple(self.losses), self.seconds, peak_megabytes())

    def picture(self) -> NDArray[np.uint8]:
        """The picture as it is now: RGB uint8, at this stage's size until the last one."""
        with torch.no_grad():
            shown = self._objective.picture(self._optimisation.latent)[0].clamp(-1, 1)
        return self.inputs.trim(to_picture(shown), last=self._stage == len(self.stages) - 1)

    def save(self, file: Path) -> None:
        """Write the whole state, atomically."""
        state = {
            "identity": self._identity(), "stage": self._stage, "losses": self.losses, "seconds": self.seconds,
            "optimisation": self._optimisation.state_dict(), "objective": self._objective.state_dict(),
        }  # fmt: skip
        part = file.with_name(file.name + ".part")
        torch.save(state, part)
        part.replace(file)

    def load(self, file: Path) -> None:
        """Continue from a state written by save(); raises UserError when it is damaged or of another run."""
        try:
            state = torch.load(file, weights_only=True)
            identity = state["identity"]
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, TypeError, pickle.UnpicklingError) as error:
            raise UserError(f"cannot resume from {file}, it is damaged: delete it to start again") from error
        if identity != self._identity():
            raise UserError(f"{file} is of a run with other pictures, teacher or settings: delete it to start again")
        while self._stage < state["stage"]:
            self._stage += 1
            self._begin_stage(self._optimisation.latent)
        self._optimisation.load_state_dict(state["optimisation"])
        self._objective.load_state_dict(state["objective"])
        self.losses, self.seconds = list(state["losses"]), state["seconds"]

    def _begin_stage(self, before: Any) -> None:
        """Set up objective and optimiser of the stage, from the result of the one before or from the content."""
        stage = self.stages[self._stage]
        styles, content, regions = self.inputs.at(stage, self.settings, self.teacher)
        share = content_share(self.settings.optimisation.content_weight)
        settings = replace(self.settings.objective, seed=self.settings.seed + self._stage, content_share=share)
        if content is not None and settings.target == "pyramid":
            maps = (None, None) if regions is None else (regions.picture, regions.styles)
            content = transfer_colours(content, styles, *maps)
        if settings.target == "latent":
            target: Any = self._first_latent(stage) if content is None else self.teacher.encode(content).detach()
            target = target.float()
        elif before is not None:
            target = refine(before, content, (stage.height, stage.width))
        else:
            target = starting_pyramid(content, (stage.height, stage.width), self.settings.seed)
        self._objective = AttentionObjective(self.teacher, styles, content, stage.steps, settings, regions)
        self._optimisation = LatentOptimisation(target, replace(self.settings.optimisation, steps=stage.steps))

    def _first_latent(self, stage: Stage) -> torch.Tensor:
        shape = self.teacher.encode(torch.zeros(1, 3, stage.height, stage.width)).shape
        return torch.randn(shape, generator=torch.Generator().manual_seed(self.settings.seed))

    def _seconds_left(self) -> float:
        seconds = (self.stages[self._stage].steps - self._optimisation.steps_done) * self._seconds_per_step
        for distance, stage in enumerate(self.stages[self._stage + 1 :], start=1):
            seconds += stage.steps * self._seconds_per_step * COST_OF_DOUBLING**distance
        return seconds

    def _identity(self) -> str:
        return f"{self.teacher.name} {self.inputs.fingerprint} {self.settings}"


def synthesize(
    styles: Sequence[str | Path],
    content: str | Path | None = None,
    teacher: str | Teacher = "teacher",
    settings: SynthesisSettings | None = None,
    after_step: Callable[[Progress], object] = lambda progress: None,
    **changes: Any,
) -> Synthesized:
    """Paint `content` in the style of pictures, or a texture of them where `content` is None.

    teacher: a Teacher, or what `load_teacher` understands; settings, changes: see `SynthesisSettings`. Raises UserError
    for pictures, teachers or settings that cannot be used.
    """
    from muon_ad_core.distill.teachers.loader import load_teacher

    settings = replace(settings or SynthesisSettings(), **changes)
    inputs = SynthesisInputs.read(styles, content, settings)
    loaded = load_teacher(teacher) if isinstance(teacher, str) else teacher
    return Synthesis(loaded, inputs, settings).run(after_step)


def peak_megabytes() -> float:
    """Most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
