# SPDX-License-Identifier: Apache-2.0
"""The optimisers that are compared, and the learning rates that each of them may choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muon_ad_core.distill.optimisation_settings import OptimisationSettings

BASELINE = "AdamW"
SHORT = 1 / 3
"""Share of the baseline's steps in which the paper's claim of three times fewer wants its loss reached."""


@dataclass(frozen=True)
class Variant:
    """One way to optimise: changes of `OptimisationSettings`.

    share: length of the run as a share of the baseline's; shifts_per_step: see `ObjectiveSettings`, not for masked
    ones; masked: whether the loss sees the sites and heads of the entropy mask only; centre: middle of the learning
    rates that are tried.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    shifts_per_step: int = 1
    masked: bool = False
    centre: float = 0.01

    @property
    def is_muon(self) -> bool:
        """Whether its update rule is one of Muon's."""
        return self.settings.get("optimizer", "muon") == "muon"

    def run_steps(self, steps: int) -> int:
        """Length of its run where the baseline's is `steps`."""
        return max(1, round(self.share * steps))

    def rates(self, count: int) -> list[float]:
        """`count` learning rates, each twice the one before, around the centre."""
        return [self.centre * 2.0 ** (index - count // 2) for index in range(count)]

    def at(self, rate: float, steps: int, seed: int) -> OptimisationSettings:
        """Settings of a run at a learning rate where the baseline's length is `steps`."""
        return OptimisationSettings(steps=self.run_steps(steps), learning_rate=rate, seed=seed, **self.settings)


def _short(
    name: str, settings: Mapping[str, Any], shifts_per_step: int = 1, masked: bool = False, centre: float = 0.01
) -> Variant:
    return Variant(name, {"schedule": "cosine", **settings}, SHORT, shifts_per_step, masked, centre)


ELEMENTS: dict[str, Any] = {"second_moment": "elements", "momentum": 0.85}
EIGENBASIS: dict[str, Any] = {"second_moment": "eigenbasis", "momentum": 0.85}
WHITENED: dict[str, Any] = {**EIGENBASIS, "view": "c_hw"}
DIVIDED: dict[str, Any] = {**ELEMENTS, "view": "patch", "patch": 16}
PROJECTION = {**DIVIDED, "projection": "plain"}
ORTHOGONAL = {**PROJECTION, "orthogonal": True}
CURRICULUM = {**ORTHOGONAL, "curriculum": True}
PREDICTION = {**CURRICULUM, "prediction": "network"}

VARIANTS = (
    Variant(BASELINE, {"optimizer": "adamw"}, centre=0.005),
    Variant("Adam", {"optimizer": "adam"}, centre=0.01),
    Variant("SGD with momentum", {"optimizer": "sgd"}, centre=64.0),
    Variant("Muon, constant rate", {"view": "c_hw"}),
    Variant("AdamW, four moves", {"optimizer": "adamw"}, shifts_per_step=4, centre=0.005),
    _short("AdamW, short run", {"optimizer": "adamw"}, centre=0.02),
    _short("AdamW, short run, four moves", {"optimizer": "adamw"}, shifts_per_step=4, centre=0.04),
    _short("Muon c_hw", {"view": "c_hw"}),
    _short("Muon c_hw, four moves", {"view": "c_hw"}, shifts_per_step=4, centre=0.04),
    _short("Muon ch_w", {"view": "ch_w"}),
    _short("Muon patch", {"view": "patch"}),
    _short("Muon patch, rows", {"view": "patch", "second_moment": "rows"}),
    _short("Muon patch, eigenbasis", {**EIGENBASIS, "view": "patch"}, centre=0.05),
    _short("Muon c_hw, eigenbasis", WHITENED, centre=0.05),
    _short("Muon c_hw, eigenbasis, four moves", WHITENED, shifts_per_step=4, centre=0.05),
    _short("Muon ch_w, eigenbasis", {**EIGENBASIS, "view": "ch_w"}, centre=0.05),
    _short("Muon c_hw, elements", {**ELEMENTS, "view": "c_hw"}, centre=0.05),
    _short("Muon patch 8, elements", {**DIVIDED, "patch": 8}, centre=0.05),
    _short("Muon patch, elements", DIVIDED, centre=0.05),
    _short("... + projection", PROJECTION, centre=0.05),
    _short("... + G_ortho", ORTHOGONAL, centre=0.05),
    _short("... + curriculum", CURRICULUM, centre=0.05),
    _short("... + entropy mask", CURRICULUM, masked=True, centre=0.05),
    _short("... + gradient prediction", PREDICTION, masked=True, centre=0.05),
)
"""Baselines; Muon in each view and with second moments; some that look at four moves of the picture in a step; the
ablation, each line with all of the line before, from "Muon patch, elements" on."""
