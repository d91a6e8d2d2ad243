# SPDX-License-Identifier: Apache-2.0
"""From runs to figures: medians over pairs and seeds of what every optimiser needs against the baseline."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from muon_ad_core.bench.benchmark import LOWER, Series
from muon_ad_core.bench.optimizer_runs import Run, fluctuation, smoothed
from muon_ad_core.bench.optimizer_variants import BASELINE, VARIANTS

PAPER = (
    ("Table IV, AdamW to Muon", "time an image", "30.2 s to 10.1 s (2.99x)", "seconds_ratio"),
    ("Table V, AdamW to full Muon-AD", "iterations to convergence", "2700 to 1200 (2.25x)", "iterations_ratio"),
    ("Table IV, AdamW to Muon", "memory", "12.1 GB to 7.3 GB (1.66x)", "peak_memory_ratio"),
    ("text, Muon", "standard deviation of the loss", "62 % lower", "fluctuation_reduction_percent"),
    ("text, Muon", "conflicts of gradients", "78.6 % eliminated", "conflicts_removed_percent"),
    ("Table II, + dynamic mask", "FLOPs", "60 % saved", "flops_saved_percent"),
    ("text, GPN", "backward passes", "40 % saved", "backward_passes_saved_percent"),
)
"""Table or text, figure, the paper's value, and the key of ours in the summary."""


@dataclass(frozen=True)
class Trial:
    """Runs of every variant by name on one problem under one seed; all share the problem and its target."""

    problem: str
    seed: int
    runs: Mapping[str, Run]

    @property
    def target(self) -> float:
        """The baseline's smoothed loss at its end."""
        return self.runs[BASELINE].final_loss

    @property
    def improved(self) -> bool:
        """Whether the baseline ended below the loss of the start; else there is nothing to reach."""
        return self.target < self.runs[BASELINE].losses[0]


def figures(name: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Figures of one variant over all trials: medians, and how many trials reached the target.

    iterations_ratio, seconds_ratio: what the baseline needs to its final loss for the first time (its curve wobbles, so
    that may be before its end) by what this variant needs to the same loss; a trial that never gets there counts as 0,
    and a median of 0 is given as None. They and `reached` are over the trials in which the baseline improved on the
    start at all (`improved`).
    """
    useful = [trial for trial in trials if trial.improved]
    runs = [trial.runs[name] for trial in trials]
    base_steps = [trial.runs[BASELINE].steps_to(trial.target) for trial in useful]
    base_seconds = [trial.runs[BASELINE].seconds_to(trial.target) for trial in useful]
    steps = [trial.runs[name].steps_to(trial.target) for trial in useful]
    seconds = [trial.runs[name].seconds_to(trial.target) for trial in useful]
    rates = [run.conflict_rates for run in runs if run.conflict_rates is not None]
    peaks = [run.peak_mb for run in runs if run.peak_mb is not None]
    found = {
        "steps_of_run": len(runs[0].losses),
        "reached": sum(count is not None for count in steps),
        "improved": len(useful),
        "trials": len(trials),
        "iterations_to_target": _median([math.inf if count is None else count for count in steps]),
        "iterations_ratio": _ratio([_by(b, n) for b, n in zip(base_steps, steps, strict=True)]),
        "seconds_to_target": _median([math.inf if value is None else value for value in seconds]),
        "seconds_ratio": _ratio([_by(b, s) for b, s in zip(base_seconds, seconds, strict=True)]),
        "seconds_a_step": _median([sum(run.seconds) / len(run.seconds) for run in runs]),
        "final_loss": _median([run.final_loss for run in runs]),
        "final_loss_by_target": _median([r.final_loss / t.target for r, t in zip(runs, trials, strict=True)]),
        "fluctuation": _median([fluctuation(run.losses) for run in runs]),
        "conflict_rate_before": _median([rate[0] for rate in rates]),
        "conflict_rate_after": _median([rate[1] for rate in rates]),
        "backward_passes_saved_share": _median([run.saved_backward_passes / len(run.losses) for run in runs]),
        "flops_saved_share": _median([run.flops_saved for run in runs]),
        "peak_mb": _median(peaks),
    }
    for key in sorted({key for run in runs for key in run.quality}):
        found[key] = _median([run.quality[key] for run in runs if key in run.quality])
    return found


def curves(trials: Sequence[Trial]) -> dict[str, Series]:
    """The smoothed loss by step of every variant, relative to the target, one run a trial."""
    return {
        f"loss by target, {name}": Series(
            "of AdamW's final loss",
            [[min(loss / t.target, 1e6) for loss in smoothed(t.runs[name].losses)] for t in trials],
            LOWER,
        )
        for name in trials[0].runs
    }


def best_variant(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The variant of Muon with the highest ratio of iterations, or the lowest loss if none reaches the target."""
    muon = {variant.name for variant in VARIANTS if variant.is_muon}
    ours = [name for name in table if name in muon] or list(table)

    def merit(name: str) -> tuple[float, float]:
        row = table[name]
        return row["iterations_ratio"] or 0.0, -(row["final_loss"] or math.inf)

    return max(ours, key=merit)


def against_paper(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The paper's figures and ours, line by line; ours is None where it was not measured."""
    return [
        {"where": where, "figure": figure, "paper": paper, "ours": summary.get(key), "key": key}
        for where, figure, paper, key in PAPER
    ]


def _median(values: Sequence[float]) -> float | None:
    middle = statistics.median(values) if values else math.inf
    return float(middle) if math.isfinite(middle) else None


def _by(base: float | None, needed: float | None) -> float:
    return base / needed if base and needed else 0.0


def _ratio(values: Sequence[float]) -> float | None:
    return _median(values) or None
