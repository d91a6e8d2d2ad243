# SPDX-License-Identifier: Apache-2.0
"""What a synthesis does; the defaults are for the built-in teacher."""

from __future__ import annotations

from dataclasses import dataclass, field

from muon_ad_core.distill.attention_objective import STYLE_LOSSES, TARGETS, ObjectiveSettings
from muon_ad_core.distill.optimisation_settings import OptimisationSettings
from muon_ad_core.errors import ParameterError

SIZES = (64, 2048)
STEPS = (1, 10_000)
PATCH_WEIGHT = 100.0
"""With a quarter of it the attentions of a trained teacher leave bright specks."""
DISTRIBUTION_WEIGHT = 60.0
PERCEPTION_WEIGHT = 8.0
"""Beside it the photograph stays clearer under the same strokes; with 16, and half of the weight of distributions,
few were left where the photograph is flat."""
CONTENT_WEIGHT = 1.0


def content_share(content_weight: float) -> float:
    """Share of the photograph in what patches look for: a third at the usual weight of the content loss, 1."""
    return content_weight / (2 + content_weight)


def default_objective(target: str = "pyramid") -> ObjectiveSettings:
    """All losses there are for pyramids; attentions alone, the paper's objective, for latents."""
    if target == "latent":
        return ObjectiveSettings(target=target)
    return ObjectiveSettings(
        target=target, patch_weight=PATCH_WEIGHT, distribution_weight=DISTRIBUTION_WEIGHT,
        perception_weight=PERCEPTION_WEIGHT,
    )  # fmt: skip


def default_optimisation(target: str = "pyramid") -> OptimisationSettings:
    """The update rule that goes with `default_objective`; for latents the reference of attention distillation."""
    if target == "latent":
        return OptimisationSettings(optimizer="adam", learning_rate=0.05)
    return OptimisationSettings(
        optimizer="muon", view="c_hw", second_moment="elements", momentum=0.85, learning_rate=0.15, schedule="cosine",
        content_weight=CONTENT_WEIGHT,
    )  # fmt: skip


@dataclass(frozen=True)
class SynthesisSettings:
    """What a synthesis does.

    size: longer side of the result in pixels; steps: of all stages together; style_scale: size of the style pictures
    relative to the result: below 1 strokes become finer; stages: sizes that are passed through, each half the next (0:
    as many as make sense); seed: everything random follows from it; objective, optimisation: see there; their seed,
    tile and steps are set by the synthesis. Raises ParameterError for a value out of range.
    """

    size: int = 512
    steps: int = 64
    style_scale: float = 1.0
    stages: int = 0
    seed: int = 0
    objective: ObjectiveSettings = field(default_factory=default_objective)
    optimisation: OptimisationSettings = field(default_factory=default_optimisation)

    def __post_init__(self) -> None:
        for name, value, (least, most) in (("size", self.size, SIZES), ("steps", self.steps, STEPS)):
            if not least <= value <= most:
                raise ParameterError(f"{name} must be between {least} and {most}, not {value}")
        weights = {"patches": self.objective.patch_weight, "distributions": self.objective.distribution_weight,
                   "perception": self.objective.perception_weight}  # fmt: skip
        for name, weight in weights.items():
            if weight < 0:
                raise ParameterError(f"the weight of {name} must not be negative, got {weight}")
        if not 0.1 <= self.style_scale <= 4:
            raise ParameterError(f"the style's scale must be between 0.1 and 4, not {self.style_scale}")
        if self.objective.target not in TARGETS or self.objective.style_loss not in STYLE_LOSSES:
            raise ParameterError(
                f"target must be one of {', '.join(TARGETS)} and style loss one of {', '.join(STYLE_LOSSES)}"
            )
