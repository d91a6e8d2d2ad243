# SPDX-License-Identifier: Apache-2.0
"""One run of one optimiser on one problem, and what a loss curve tells: steps to a target, fluctuation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muon_ad_core.bench.optimizer_problems import Problem
from muon_ad_core.bench.optimizer_variants import Variant
from muon_ad_core.distill.optimisation import DivergedError, LatentOptimisation, Objective

SMOOTHING = 8
"""Steps that a loss is averaged over: the moves of a picture come in turn, and differ in their loss."""


@dataclass(frozen=True)
class Run:
    """losses: of all sites before every step, whatever the optimiser looked at itself; infinite after divergence.

    seconds: of every step alone, without looking on; conflict_rates: before and after projection, None where the
    gradients were not taken apart; saved_backward_passes: of `steps`, predicted; flops_saved: share of the attention
    operations of the loss that the entropy mask leaves out; peak_mb: most memory of the process during the run, None
    where the system does not tell; quality: figures of the finished picture.
    """

    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    conflict_rates: tuple[float, float] | None
    backward_passes: int
    saved_backward_passes: int
    flops_saved: float
    peak_mb: float | None
    quality: Mapping[str, float]

    @property
    def final_loss(self) -> float:
        """Smoothed loss at the end."""
        return smoothed(self.losses)[-1]

    def steps_to(self, target: float) -> int | None:
        """Steps until the smoothed loss is at or below the target; None when it never is."""
        reached = (index + 1 for index, loss in enumerate(smoothed(self.losses)) if loss <= target)
        return next(reached, None)

    def seconds_to(self, target: float) -> float | None:
        """Seconds until then; None when the target is never reached."""
        steps = self.steps_to(target)
        return None if steps is None else math.fsum(self.seconds[:steps])


def smoothed(losses: Sequence[float], window: int = SMOOTHING) -> list[float]:
    """Mean of every loss and up to `window` - 1 before it."""
    return [math.fsum(losses[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(losses))]


def fluctuation(losses: Sequence[float]) -> float:
    """Standard deviation around the straight line through the second half of a curve, as a share of its mean."""
    tail = np.asarray(losses[len(losses) // 2 :])
    if not np.isfinite(tail).all():
        return math.inf
    places = np.arange(len(tail))
    line = np.polyval(np.polyfit(places, tail, 1), places) if len(tail) > 2 else tail
    return float(np.std(tail - line) / tail.mean())


def run_variant(variant: Variant, problem: Problem, rate: float, steps: int, seed: int, judged: bool = False) -> Run:
    """Optimise once; a run that diverges is told by infinite losses."""
    whole = problem.objective(variant.shifts_per_step)
    objective, flops_saved = whole, 0.0
    if variant.masked:
        objective, mask = problem.masked_objective()
        flops_saved = mask.flops_saved / mask.flops
    settings = replace(variant.at(rate, steps, seed), content_weight=problem.content_weight)
    optimisation = LatentOptimisation(problem.start(), settings)
    length = variant.run_steps(steps)
    losses, seconds, saved = [], [], 0
    reset = reset_peak_memory()
    for step in range(length):
        before = _copied(optimisation.latent)
        began = time.perf_counter()
        try:
            statistics = optimisation.step(objective)
        except DivergedError:
            break
        seconds.append(time.perf_counter() - began)
        saved = statistics.saved_backward_passes
        if statistics.loss is None or variant.masked:
            # The optimiser did not look at the whole loss here: look on, outside its time.
            losses.append(_loss(whole, before, step, optimisation.settings.content_weight))
        else:
            losses.append(statistics.loss)
    diverged = [math.inf] * (length - len(losses))
    return Run(
        tuple(losses + diverged),
        tuple(seconds + [0.0] * len(diverged)),
        optimisation.conflicts.rates,
        optimisation.backward_passes,
        saved,
        flops_saved,
        peak_memory_mb() if reset else None,
        problem.judge(optimisation.latent) if judged and not diverged else {},
    )


def tune(
    variant: Variant,
    problems: Sequence[Problem],
    rates: int,
    steps: int,
    seed: int,
    targets: Sequence[float] | None,
) -> tuple[float, dict[float, list[float]]]:
    """The best of `rates` learning rates, and the final losses on every problem at each.

    targets: a loss for each problem. Fewest steps to them count first (a run that misses its target counts twice its
    length), then the mean final loss; without targets that alone. Every variant is given as many rates and runs.
    """
    ranks, finals = {}, {}
    for rate in variant.rates(rates):
        found = [run_variant(variant, problem, rate, steps, seed) for problem in problems]
        finals[rate] = [run.final_loss for run in found]
        needed = 0
        if targets is not None:
            missed = 2 * variant.run_steps(steps)
            needed = sum(run.steps_to(target) or missed for run, target in zip(found, targets, strict=True))
        ranks[rate] = (needed, math.fsum(finals[rate]))
    return min(ranks, key=lambda rate: ranks[rate]), finals


def reset_peak_memory() -> bool:
    """Let the kernel forget this process's highest memory use; False where it does not let us."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory_mb() -> float | None:
    """Most memory that this process held since `reset_peak_memory`, in MB; None where the kernel does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else None


@torch.no_grad()
def _loss(objective: Objective, latent: Any, step: int, content_weight: float) -> float:
    style, content = objective(latent, step)
    return float(style) + (0.0 if content is None else content_weight * float(content))


def _copied(latent: Any) -> Any:
    if isinstance(latent, list):
        return [part.detach().clone() for part in latent]
    return latent.detach().clone()
