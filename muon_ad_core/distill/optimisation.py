# SPDX-License-Identifier: Apache-2.0
"""One optimisation of a latent, or of a network's weights, against an objective of two losses.

    optimisation = LatentOptimisation(latent, OptimisationSettings(steps=200))
    for step in range(200):
        statistics = optimisation.step(objective)
    picture = decode(optimisation.latent)

objective(latent, step) gets the latent as it was given (a tensor (C, H, W) or (B, C, H, W), or a list of such: a
pyramid) and returns two scalars, the style and the content loss, each with its graph; content is None where there is
none (textures). `step` counts from 0, so that an objective can choose its timestep and draw its random numbers from
(seed, step). Losses are summed or averaged over samples as the objective likes; every sample is updated on its own.
The latent stays float32 and is changed in place; the network behind the objective may run in bfloat16.

What happens in a step, each part optional (see `optimisation_settings`):
 1. predicted gradient in place of a true one (`gradient_predictor`); then the objective is not called at all
 2. weights of style and content from the curriculum (`curriculum`)
 3. balance of norms in phase 3, projection of conflicts, G_ortho (`gradient_geometry`)
 4. the update rule: Muon in a view, Adam, AdamW, gradient descent (`muon_latent`, `muon`, `update_rules`)
 5. G_ortho once more, because Newton-Schulz breaks it; the learning rate times schedule and curriculum
A run continued from `state_dict` equals the uninterrupted one bit for bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from muon_ad_core.compress.retention import phase
from muon_ad_core.distill.curriculum import Curriculum, rate_factor
from muon_ad_core.distill.gradient_geometry import (
    ConflictStatistics,
    GradientBalance,
    SecondMoment,
    cosine,
    orthogonal_to,
    project_conflict,
    with_norm_of,
)
from muon_ad_core.distill.gradient_predictor import GradientPredictor
from muon_ad_core.distill.optimisation_settings import OptimisationSettings
from muon_ad_core.distill.schedules import schedule_factor
from muon_ad_core.distill.update_rules import State, UpdateRule
from muon_ad_core.errors import UserError

Objective = Callable[[Any, int], tuple[Tensor, "Tensor | None"]]
"""(latent or list of tensors, step) to (style loss, content loss or None)."""


class DivergedError(UserError):
    """A loss or an update is not finite any more."""


@dataclass(frozen=True)
class StepStatistics:
    """What one step did. Losses are None when the gradient was predicted: the objective was not called.

    loss: style_loss + settings.content_weight * content_loss, whatever the weights of the step, so that runs with and
    without curriculum compare. cosine: mean over samples between the two gradients; conflict_rate, conflict_rate_after:
    share of samples below the threshold before and after projection; all None unless the gradients were taken apart.
    backward_passes, saved_backward_passes: totals since the start, the latter are predicted steps.
    """

    step: int
    style_loss: float | None
    content_loss: float | None
    loss: float | None
    learning_rate: float
    style_weight: float
    content_weight: float
    cosine: float | None
    conflict_rate: float | None
    conflict_rate_after: float | None
    backward_passes: int
    saved_backward_passes: int


class Optimisation:
    """The steps of one run over a list of tensors; made by `LatentOptimisation` and `WeightOptimisation`.

    tensors: float32 leaves, changed in place; rules: one each; rates: learning rates, one each; samples_first: whether
    the first dimension counts samples, each with an angle of its own, or all tensors are one sample.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        rules: Sequence[UpdateRule],
        rates: Sequence[float],
        settings: OptimisationSettings,
        samples_first: bool,
    ) -> None:
        self.tensors = [tensor.requires_grad_() for tensor in tensors]
        self.settings = settings
        self.steps_done = 0
        self.backward_passes = 0
        self.conflicts = ConflictStatistics(settings.conflict_threshold)
        self.curriculum = Curriculum(settings.steps, 1 / (1 + settings.content_weight)) if settings.curriculum else None
        self.predictor: GradientPredictor | None = None
        if settings.prediction != "off":
            if not samples_first:
                raise ValueError("gradients of weights cannot be predicted: the network reads latents")
            self.predictor = GradientPredictor(self.tensors, settings.prediction, seed=settings.seed)
        self._rules, self._rates, self._samples_first = list(rules), list(rates), samples_first
        self._states: list[State] = [{} for _ in self.tensors]
        self._second_moment = SecondMoment()
        self._balance = GradientBalance()

    def step(self, objective: Objective) -> StepStatistics:
        """Take one step; raises DivergedError when the losses are not finite."""
        step, progress = self.steps_done, min(1.0, self.steps_done / self.settings.steps)
        losses: tuple[float, float] | None = None
        cosines: tuple[float, float, float] | None = None
        if self.predictor is not None and self.predictor.replaces(step):
            gradient = self.predictor.predict(self.tensors, progress)
        else:
            gradient, losses, cosines = self._gradient(objective, progress)
            if self.predictor is not None:
                self.predictor.observe(self.tensors, progress, gradient)
        style_weight, content_weight = self._loss_weights()
        factor = schedule_factor(self.settings.schedule, progress)
        if self.curriculum is not None:
            factor *= rate_factor(progress)
            if losses is not None:
                self.curriculum.observe_style_loss(step, losses[0])
        self._apply(gradient, factor)
        self.steps_done += 1
        return StepStatistics(
            step,
            losses[0] if losses else None,
            losses[1] if losses else None,
            losses[0] + self.settings.content_weight * losses[1] if losses else None,
            factor * self.settings.rate,
            style_weight,
            content_weight,
            cosines[0] if cosines else None,
            cosines[1] if cosines else None,
            cosines[2] if cosines else None,
            self.backward_passes,
            self.predictor.saved if self.predictor is not None else 0,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything a run depends on, the tensors included: plain values and tensors, safe for `torch.save`."""
        return {
            "settings": asdict(self.settings),
            "steps_done": self.steps_done,
            "backward_passes": self.backward_passes,
            "tensors": [tensor.detach().clone() for tensor in self.tensors],
            "rules": [_cloned(state) for state in self._states],
            "conflicts": asdict(self.conflicts),
            "second_moment": self._second_moment.state_dict(),
            "balance": self._balance.state_dict(),
            "curriculum": self.curriculum.state_dict() if self.curriculum is not None else None,
            "predictor": self.predictor.state_dict() if self.predictor is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; raises UserError when it is of a run with other settings or sizes."""
        if state["settings"] != asdict(self.settings):
            raise UserError("the saved run has other settings: start anew or give the same ones")
        if [tensor.shape for tensor in state["tensors"]] != [tensor.shape for tensor in self.tensors]:
            raise UserError("the saved run is of another size: start anew or give the same pictures and size")
        self.steps_done, self.backward_passes = state["steps_done"], state["backward_passes"]
        with torch.no_grad():
            for tensor, saved in zip(self.tensors, state["tensors"], strict=True):
                tensor.copy_(saved)
        self._states = [_cloned(entry) for entry in state["rules"]]
        self.conflicts = ConflictStatistics(**state["conflicts"])
        self._second_moment.load_state_dict(state["second_moment"])
        self._balance.load_state_dict(state["balance"])
        if self.curriculum is not None:
            self.curriculum.load_state_dict(state["curriculum"])
        if self.predictor is not None:
            self.predictor.load_state_dict(state["predictor"])

    def _target(self) -> Any:
        """What the objective gets."""
        return self.tensors

    def _loss_weights(self) -> tuple[float, float]:
        if self.curriculum is not None:
            return self.curriculum.style_weight, self.curriculum.content_weight
        return 1.0, self.settings.content_weight

    def _gradient(
        self, objective: Objective, progress: float
    ) -> tuple[list[Tensor], tuple[float, float], tuple[float, float, float] | None]:
        """The gradient to follow, the two losses, and mean cosine and conflict rates where they are known."""
        with torch.enable_grad():
            style, content = objective(self._target(), self.steps_done)
        losses = (float(style.detach()), 0.0 if content is None else float(content.detach()))
        if not all(map(torch.isfinite, (style, style if content is None else content))):
            raise DivergedError(f"the losses are not finite at step {self.steps_done}: lower the learning rate")
        style_weight, content_weight = self._loss_weights()
        if content is None or not self.settings.separate_gradients:
            total = style_weight * style if content is None else style_weight * style + content_weight * content
            return self._backward(total), losses, None
        style_gradient = self._backward(style_weight * style, keep_graph=True)
        content_gradient = self._backward(content_weight * content)
        combined, cosines = self._combine(style_gradient, content_gradient, progress)
        return combined, losses, cosines

    def _backward(self, loss: Tensor, keep_graph: bool = False) -> list[Tensor]:
        self.backward_passes += 1
        return list(torch.autograd.grad(loss, self.tensors, retain_graph=keep_graph))

    def _combine(
        self, style: list[Tensor], content: list[Tensor], progress: float
    ) -> tuple[list[Tensor], tuple[float, float, float]]:
        """Balance and projection; gradients come and go in the tensors' own shapes."""
        shapes = [tensor.shape for tensor in style]
        style, content = self._as_samples(style), self._as_samples(content)
        before = cosine(style, content)
        if self.curriculum is not None and phase(progress) == 3:
            style = self._balance.scale(style, content)
        if self.settings.projection != "off":
            weights = None
            if self.settings.projection == "second_moment":
                self._second_moment.update([x + y for x, y in zip(style, content, strict=True)])
                weights = self._second_moment.weights()
            style = project_conflict(style, content, self.settings.conflict_threshold, weights)
        rates = self.conflicts.add(before, cosine(style, content))
        combined = [(x + y).reshape(shape) for x, y, shape in zip(style, content, shapes, strict=True)]
        return combined, (float(before.mean()), *rates)

    @torch.no_grad()
    def _apply(self, gradient: list[Tensor], factor: float) -> None:
        settings = self.settings
        start = self._as_samples([tensor.clone() for tensor in self.tensors])
        if settings.orthogonal:
            gradient = self._orthogonal(gradient, start)
        inputs = zip(self._rules, self.tensors, gradient, self._states, strict=True)
        changes = [rule.change(tensor, entry, state) for rule, tensor, entry, state in inputs]
        if settings.orthogonal:
            changes = self._orthogonal(changes, start)
        for tensor, change, rate in zip(self.tensors, changes, self._rates, strict=True):
            tensor.add_(change, alpha=rate * factor)
        if settings.keep_norm:
            scaled = with_norm_of(self._as_samples(self.tensors), start)
            for tensor, value in zip(self.tensors, scaled, strict=True):
                tensor.copy_(value.reshape(tensor.shape))

    def _orthogonal(self, gradient: list[Tensor], start: list[Tensor]) -> list[Tensor]:
        found = orthogonal_to(self._as_samples(gradient), start)
        return [x.reshape(tensor.shape) for x, tensor in zip(found, self.tensors, strict=True)]

    def _as_samples(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return list(tensors) if self._samples_first else [tensor[None] for tensor in tensors]


class LatentOptimisation(Optimisation):
    """An optimisation of latents; see the module.

    latent: float32 (C, H, W) or (B, C, H, W), or a list of such with the same B; changed in place. Raises ValueError
    for other shapes or precisions.
    """

    def __init__(self, latent: Tensor | list[Tensor], settings: OptimisationSettings) -> None:
        given = latent if isinstance(latent, list) else [latent]
        if not given or any(part.ndim not in (3, 4) or part.dtype != torch.float32 for part in given):
            raise ValueError("a latent must be float32 of shape (C, H, W) or (B, C, H, W)")
        self._single = not isinstance(latent, list)
        self._batched = given[0].ndim == 4
        parts = [part.detach() if part.ndim == 4 else part.detach()[None] for part in given]
        rules = [settings.latent_rule() for _ in parts]
        super().__init__(parts, rules, [settings.rate] * len(parts), settings, samples_first=True)

    @property
    def latent(self) -> Any:
        """The latent as it is now, in the form it was given."""
        parts = [part if self._batched else part[0] for part in self.tensors]
        return parts[0] if self._single else parts

    def _target(self) -> Any:
        return self.latent


class WeightOptimisation(Optimisation):
    """An optimisation of a network's weights, changed in place; G_ortho and conflicts are of all weights together.

    parameters: float32; the objective gets them as a list and need not look at it.
    """

    def __init__(self, parameters: Sequence[Tensor], settings: OptimisationSettings) -> None:
        rules = [settings.weight_rule(parameter.ndim) for parameter in parameters]
        vectors = settings.optimizer == "muon"
        rates = [settings.vector_learning_rate if vectors and p.ndim < 2 else settings.rate for p in parameters]
        super().__init__(parameters, rules, rates, settings, samples_first=False)


def _cloned(state: State) -> State:
    return {
        key: value.clone() if isinstance(value, Tensor) else _cloned(value) if isinstance(value, dict) else value
        for key, value in state.items()
    }
