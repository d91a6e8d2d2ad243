# SPDX-License-Identifier: Apache-2.0
"""Ways to paint a photograph that are compared, each at several strengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.distill.features import SqueezeNetFeatures
from muon_ad_core.distill.style_baselines import match_colour_moments, optimise_perceptually
from muon_ad_core.distill.synthesis import Synthesis
from muon_ad_core.distill.synthesis_inputs import SynthesisInputs
from muon_ad_core.distill.synthesis_settings import SynthesisSettings
from muon_ad_core.distill.teachers.base import Teacher

Pixels = NDArray[np.uint8]
COLOUR_SHARES = (1 / 3, 2 / 3, 1.0)
PERCEPTUAL_WEIGHTS = (1.0, 0.25, 0.06)
"""Content weights of the direct optimisation: with the first a photograph still, with the last hardly any more."""
PERCEPTUAL_STEPS = 60


@dataclass(frozen=True)
class Method:
    """One way to paint; `paint(content, style, strength)` takes and returns RGB uint8 squares of one size.

    strengths: three, from the most faithful to the strongest; the middle one is shown.
    """

    name: str
    strengths: tuple[float, ...]
    paint: Callable[[Pixels, Pixels, float], Pixels]


def colour_moments() -> Method:
    """AdaIN on pixels; the strength is the share of the way from the photograph to the matched colours."""

    def paint(content: Pixels, style: Pixels, strength: float) -> Pixels:
        mixed = (1 - strength) * content + strength * match_colour_moments(content, style).astype(np.float64)
        return mixed.round().astype(np.uint8)

    return Method("colour moments", COLOUR_SHARES, paint)


def attention_distillation(
    name: str, teacher: Teacher, settings: SynthesisSettings, weights: Sequence[float]
) -> Method:
    """What `muon-ad synthesize` does with a teacher; the strength is the content weight lambda, falling."""

    def paint(content: Pixels, style: Pixels, strength: float) -> Pixels:
        chosen = replace(settings, optimisation=replace(settings.optimisation, content_weight=strength))
        inputs = SynthesisInputs((style,), content, *content.shape[:2])
        return Synthesis(teacher, inputs, chosen).run().picture

    return Method(name, tuple(weights), paint)


def direct_optimisation(network: SqueezeNetFeatures) -> Method:
    """Perceptual optimisation, the reference, which wins the metric of its own network; the strength is as above."""

    def paint(content: Pixels, style: Pixels, strength: float) -> Pixels:
        return optimise_perceptually(network, content, style, PERCEPTUAL_STEPS, content_weight=strength)

    return Method("direct optimisation", PERCEPTUAL_WEIGHTS, paint)
