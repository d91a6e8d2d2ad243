# SPDX-License-Identifier: Apache-2.0
"""The curriculum: what changes over a run, by phase (paper, section on the phased curriculum learning controller).

Phase 1, to 1/6 of the run: style weight at its start. Phase 2, to 1/2: the style weight follows the trend of a quality
figure. Phase 3: the style weight rests, gradients are balanced, the learning rate falls to a tenth.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from muon_ad_core.compress.retention import PHASE_ENDS, phase

FINAL_RATE = 0.1
"""Learning rate at the end of phase 3, as a share of the start's (paper: 1e-3 to 1e-4)."""


def rate_factor(progress: float) -> float:
    """Factor of the learning rate: 1 in phases 1 and 2, then linear to FINAL_RATE at the end."""
    if phase(progress) < 3:
        return 1.0
    share = (progress - PHASE_ENDS[1]) / (1 - PHASE_ENDS[1])
    return 1 - (1 - FINAL_RATE) * share


@dataclass
class Curriculum:
    """Weights of style and content (they add up to 1) over a run of `steps` steps; resumable by its state.

    start: style weight of phase 1; sensitivity: eta of lambda <- lambda * exp(-eta * change of the figure); low, high:
    what lambda is clamped to (a start outside widens it); decay: EMA factor that smooths the figure first, which
    single images need. The figure is FID, or its stand-in for single images: the style loss in percent of the first
    one; either falls when style improves.
    """

    steps: int
    start: float = 0.8
    sensitivity: float = 0.05
    low: float = 0.2
    high: float = 0.8
    decay: float = 0.9

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.start <= 1:
            raise ValueError(f"a curriculum needs steps >= 1 and a start in 0..1, got {self.steps} and {self.start}")
        self.style_weight = self.start
        self._first: float | None = None
        self._figure: float | None = None

    @property
    def content_weight(self) -> float:
        """1 - the style weight."""
        return 1 - self.style_weight

    def progress(self, step: int) -> float:
        """Share of the run that lies before `step` (0..1); 1 from the last step's end on."""
        return min(1.0, step / self.steps)

    def observe_style_loss(self, step: int, loss: float) -> None:
        """Take in the style loss of a step in place of FID: as a percentage of the first one."""
        if self._first is None:
            self._first = max(abs(loss), 1e-12)
        self.observe(step, 100 * loss / self._first)

    def observe(self, step: int, figure: float) -> None:
        """Take in the quality figure of a step; in phase 2 the style weight follows its trend."""
        before = figure if self._figure is None else self._figure
        self._figure = self.decay * before + (1 - self.decay) * figure
        if phase(self.progress(step)) == 2:
            moved = self.style_weight * math.exp(-self.sensitivity * (self._figure - before))
            self.style_weight = min(max(moved, min(self.low, self.start)), max(self.high, self.start))

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {**asdict(self), "style_weight": self.style_weight, "first": self._first, "figure": self._figure}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises ValueError when it is of a curriculum with other settings."""
        if {key: state[key] for key in asdict(self)} != asdict(self):
            raise ValueError("the saved state is of a curriculum with other settings")
        self.style_weight, self._first, self._figure = state["style_weight"], state["first"], state["figure"]
