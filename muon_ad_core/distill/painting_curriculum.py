# SPDX-License-Identifier: Apache-2.0
"""The three phases of the paper's curriculum for the training of a network that paints (see `curriculum`).

The recipe's own weights are those of phase 1. In phase 2 style gives way to what holds the picture while the style
loss gets worse, and comes back. In phase 3 the style's gradient is balanced with the picture's, which takes a second
backward pass, and the learning rate falls to a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from muon_ad_core.compress.retention import phase
from muon_ad_core.distill.curriculum import Curriculum
from muon_ad_core.distill.gradient_geometry import GradientBalance

UNITS = 10_000
"""A run is divided into so many, whether its length is told in steps or in minutes."""


class PaintingCurriculum:
    """Factors of the losses and balance of their gradients at each `progress` (0..1) of a run."""

    def __init__(self) -> None:
        self._controller, self._balance = Curriculum(UNITS), GradientBalance()

    def factors(self) -> tuple[float, float]:
        """Of the losses that pull towards the style, and of those that hold the picture; 1, 1 in phase 1."""
        controller = self._controller
        return controller.style_weight / controller.start, controller.content_weight / (1 - controller.start)

    def observe(self, progress: float, style_loss: float) -> None:
        """Take in the style loss of a step, which stands in for FID."""
        self._controller.observe_style_loss(round(progress * UNITS), style_loss)

    def balanced(self, style: Sequence[Tensor], picture: Sequence[Tensor]) -> list[Tensor]:
        """The style's gradient in phase 3, as strong as the picture's; each has one sample, its first dimension."""
        return self._balance.scale(list(style), list(picture))

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"controller": self._controller.state_dict(), "balance": self._balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._controller.load_state_dict(state["controller"])
        self._balance.load_state_dict(state["balance"])


def is_last_phase(progress: float) -> bool:
    """Whether gradients are balanced and the style encoder rests."""
    return phase(progress) == 3
