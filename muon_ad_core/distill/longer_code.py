# SPDX-License-Identifier: Apache-2.0
"""A longer style code for a trained student: room in which one style can be refined, a small adapter of its own.

Sixteen styles and an encoder need few numbers. A picture seen for the first time is painted better when the scales and
shifts of the layers themselves can move (conditional normalisation learns new styles by these alone: Dumoulin et al.,
2017). The numbers that are added reach them in directions drawn at random, which no style uses before it is refined.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from muon_ad_core.distill.student_trainer import StyledStudent
from muon_ad_core.errors import UserError
from muon_ad_core.nets.student import FILM_SPREAD, FiLM

SEED = 0
"""Of the directions: students that are lengthened alike share them."""


def with_longer_code(model: StyledStudent, length: int) -> StyledStudent:
    """The same student, frame for frame, with codes of `length` numbers: the new ones are 0 for every style so far.

    Raises UserError when the codes are longer already.
    """
    config = model.student.config
    if length < config.code:
        raise UserError(f"the student's codes have {config.code} numbers already: give --code at least that, or none")
    longer = StyledStudent(replace(config, code=length), len(model.offsets))
    modulations = {f"{name}.linear.weight" for name, module in longer.named_modules() if isinstance(module, FiLM)}
    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, value in longer.state_dict().items():
        larger = torch.zeros_like(value)
        if name in modulations:
            larger.normal_(0.0, FILM_SPREAD, generator=generator)
        weights[name] = _placed(model.state_dict()[name], larger)
    longer.load_state_dict(weights)
    return longer.eval().requires_grad_(False)


def _placed(value: Tensor, larger: Tensor) -> Tensor:
    """`larger` with `value` in its first corner."""
    larger[tuple(slice(0, size) for size in value.shape)] = value
    return larger
