# SPDX-License-Identifier: Apache-2.0
"""What an optimisation does, and the update rules that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from muon_ad_core.distill.muon import MuonWeightRule
from muon_ad_core.distill.muon_latent import MuonLatentRule
from muon_ad_core.distill.schedules import schedule_factor
from muon_ad_core.distill.update_rules import AdamRule, MomentumRule, UpdateRule

OPTIMIZERS = ("muon", "adamw", "adam", "sgd")
LEARNING_RATES = {"muon": 0.05, "adamw": 0.05, "adam": 0.05, "sgd": 1.0}
PROJECTIONS = ("off", "plain", "second_moment")
ADAMW_DECAY = 0.01


@dataclass(frozen=True)
class OptimisationSettings:
    """What an optimisation does; the defaults are plain Muon.

    optimizer: of OPTIMIZERS; steps: length of the run, for schedules and curriculum; learning_rate: None takes the
    optimiser's of LEARNING_RATES; schedule: see `schedules`; content_weight: lambda of style + lambda * content.
    view, patch, second_moment, momentum: of Muon, see `muon_latent.MuonLatentRule`.
    projection: of conflicts, in the plain inner product or weighted by the second moment; conflict_threshold: cosine
    below which they are projected; measure_conflicts: report conflicts although nothing is projected (costs a second
    backward pass, as projection and curriculum do).
    orthogonal: G_ortho before and after the update rule; keep_norm: scale the latent back to its norm after a step.
    curriculum: phases, weights, learning rate and balance of `curriculum`.
    prediction: off, network or momentum, see `gradient_predictor`.
    vector_learning_rate: of weights with fewer than two dimensions, which Muon leaves to AdamW.
    seed: of the prediction network.
    """

    optimizer: str = "muon"
    steps: int = 200
    learning_rate: float | None = None
    schedule: str = "constant"
    content_weight: float = 0.25
    view: str = "c_hw"
    patch: int = 8
    second_moment: str = "none"
    momentum: float = 0.95
    projection: str = "off"
    conflict_threshold: float = -0.5
    measure_conflicts: bool = False
    orthogonal: bool = False
    keep_norm: bool = False
    curriculum: bool = False
    prediction: str = "off"
    vector_learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer}")
        if self.projection not in PROJECTIONS:
            raise ValueError(f"projection must be one of {', '.join(PROJECTIONS)}, got {self.projection}")
        if self.steps < 1 or self.content_weight < 0 or not self.rate > 0:
            raise ValueError("steps and learning rate must be positive, the content weight not negative")
        schedule_factor(self.schedule, 0.0)
        self.latent_rule()

    @property
    def rate(self) -> float:
        """The learning rate before schedule and curriculum."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def separate_gradients(self) -> bool:
        """Whether style and content need a backward pass each."""
        return self.projection != "off" or self.measure_conflicts or self.curriculum

    def latent_rule(self) -> UpdateRule:
        """The rule of a latent."""
        if self.optimizer == "muon":
            return MuonLatentRule(self.view, self.patch, self.momentum, second_moment=self.second_moment)
        return self._plain_rule()

    def weight_rule(self, dimensions: int) -> UpdateRule:
        """The rule of a network's weight."""
        if self.optimizer == "muon":
            return MuonWeightRule(self.momentum) if dimensions >= 2 else AdamRule((0.9, 0.99))
        return self._plain_rule()

    def _plain_rule(self) -> UpdateRule:
        if self.optimizer == "sgd":
            return MomentumRule()
        return AdamRule(weight_decay=ADAMW_DECAY if self.optimizer == "adamw" else 0.0)
