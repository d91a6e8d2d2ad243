# SPDX-License-Identifier: Apache-2.0
"""Optimisers side by side on painting photographs: iterations and seconds to the loss that AdamW reaches in its run.

AdamW's run (200 steps) sets the target for every pair of pictures and seed. Every optimiser may choose among equally
many learning rates on some of the pairs with a seed of its own. See docs/optimizer.md for what the variants are.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.optimizer_figures import Trial
    from muon_ad_core.bench.optimizer_problems import Problem
    from muon_ad_core.bench.optimizer_variants import Variant

TUNING_SEED, TUNING_PAIRS = 1000, 3
LARGE = 512

ProblemFactory = Callable[[int], "Problem"]
"""One pair of pictures; called with a seed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench optimizers``."""
    parser.add_argument("--teacher", default="teacher", help="as for muon-ad synthesize (default: the built-in one)")
    parser.add_argument("--contents", type=Path, metavar="FOLDER", help="photographs (default: scikit-image's)")
    parser.add_argument("--styles", type=Path, metavar="FOLDER", help="styles (default: pictures of scikit-image)")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of content and style (default: 12)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds for each pair (default: 3)")
    parser.add_argument("--steps", type=int, default=200, help="steps of AdamW's run (default: 200)")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures (default: 256)")
    parser.add_argument("--rates", type=int, default=7, help="learning rates tried for each optimiser (default: 7)")
    parser.add_argument("--moves", type=int, default=8, help="random moves of the picture, 1 for none (default: 8)")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants, and AdamW (default: all)")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 (safetensors): adds style distance and LPIPS")
    parser.add_argument("--no-large", action="store_true", help=f"leave out the synthesis of {LARGE} pixels")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when pictures, teacher or weights cannot be read."""
    from muon_ad_core.bench.optimizer_problems import make_pairs, perceptual_judge
    from muon_ad_core.bench.picture_pairs import CONTENTS, STYLES, named_pictures
    from muon_ad_core.distill.teachers.loader import load_teacher

    for name in ("pairs", "seeds", "steps", "rates", "moves"):
        if getattr(args, name) < 1:
            raise ParameterError(f"--{name} must be at least 1")
    variants = choose_variants(args.only)
    teacher = load_teacher(args.teacher)
    if args.size < teacher.stride or args.size % teacher.stride:
        raise ParameterError(f"--size must be a multiple of {teacher.stride}, which teacher {teacher.name} needs")
    judge = perceptual_judge(args.weights) if args.weights is not None else None
    contents, styles = named_pictures(args.contents, CONTENTS), named_pictures(args.styles, STYLES)
    pairs = _spread(make_pairs(teacher, contents, styles, args.size, args.steps, judge, args.moves), args.pairs)
    trials, rates = compare(variants, pairs, args.seeds, args.steps, args.rates, lambda line: print(line, flush=True))
    large = {} if args.no_large else _large(args.teacher)
    config = {
        "teacher": teacher.name, "size": args.size, "steps": args.steps, "seeds": args.seeds, "pairs": len(pairs),
        "rates": args.rates, "moves": args.moves, "learning_rates": rates,
        "weights": args.weights.name if args.weights else None,
    }  # fmt: skip
    inputs = [folder for folder in (args.contents, args.styles) if folder is not None]
    return describe(trials, config, large, inputs)


def choose_variants(only: Sequence[str] | None) -> list[Variant]:
    """The baseline first, and those that are asked for, or all; raises ParameterError for an unknown name."""
    from muon_ad_core.bench.optimizer_variants import BASELINE, VARIANTS

    names = [variant.name for variant in VARIANTS]
    for name in only or ():
        if name not in names:
            raise ParameterError(f"there is no variant '{name}': choose among {', '.join(names)}")
    return [variant for variant in VARIANTS if not only or variant.name == BASELINE or variant.name in only]


def compare(
    variants: Sequence[Variant],
    pairs: Sequence[ProblemFactory],
    seeds: int,
    steps: int,
    rates: int,
    report: Callable[[str], None] = lambda line: None,
) -> tuple[list[Trial], dict[str, float]]:
    """Tune every variant, then run all on every pair and seed; returns the trials and the chosen learning rates.

    variants: the baseline first; pairs: factories of problems; rates: learning rates tried for each.
    """
    from muon_ad_core.bench.optimizer_figures import Trial
    from muon_ad_core.bench.optimizer_runs import run_variant, tune

    chosen: dict[str, float] = {}
    problems = [factory(TUNING_SEED) for factory in _spread(pairs, TUNING_PAIRS)]
    targets = None
    for variant in variants:
        rate, finals = tune(variant, problems, rates, steps, TUNING_SEED, targets)
        chosen[variant.name], targets = rate, finals[rate] if targets is None else targets
        report(f"{variant.name}: learning rate {rate:g}, loss {sum(finals[rate]) / len(problems):.4f}")
    trials = []
    for factory in pairs:
        for seed in range(seeds):
            problem = factory(seed)
            runs = {v.name: run_variant(v, problem, chosen[v.name], steps, seed, judged=True) for v in variants}
            trials.append(Trial(problem.name, seed, runs))
            report(f"{problem.name}, seed {seed}: target {trials[-1].target:.4f}")
    return trials, chosen


def describe(
    trials: Sequence[Trial], config: dict[str, Any], large: dict[str, float | None], inputs: Sequence[Path] = ()
) -> Measurement:
    """Table, summary and curves of the trials; `large`: figures of a large picture for the summary."""
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.optimizer_figures import against_paper, best_variant, curves, figures

    table = {name: figures(name, trials) for name in trials[0].runs}
    best = best_variant(table)
    summary = {**_summary(table, best), **large}
    paper = against_paper(summary)
    results = {"variants": table, "against_paper": paper, "targets": [
        {"pair": trial.problem, "seed": trial.seed, "loss": trial.target} for trial in trials
    ]}  # fmt: skip
    text = "\n".join([*_lines(table), "", *_paper_lines(paper), "", f"best of ours: {best}"])
    return Measurement(config, results, summary, text, [describe_input(path) for path in inputs], curves(trials))


def _summary(table: dict[str, dict[str, Any]], best: str) -> dict[str, Any]:
    """The figures that goals are about: of the best variant, and of the pieces where they are switched on."""
    from muon_ad_core.bench.optimizer_variants import BASELINE

    base, ours = table[BASELINE], table[best]

    def most(key: str) -> float | None:
        found = [row[key] for row in table.values() if row[key] is not None]
        return max(found, default=None)

    before = most("conflict_rate_before")
    after = most("conflict_rate_after")
    quality = {key: ours[key] for key in ours if "[" in key}
    return {
        "best": best,
        "iterations_ratio": ours["iterations_ratio"],
        "seconds_ratio": ours["seconds_ratio"],
        "final_loss_by_target": ours["final_loss_by_target"],
        "peak_memory_ratio": base["peak_mb"] / ours["peak_mb"] if base["peak_mb"] and ours["peak_mb"] else None,
        "fluctuation_reduction_percent": _reduction(base["fluctuation"], ours["fluctuation"]),
        "conflict_rate": before,
        "conflicts_removed_percent": _reduction(before, after),
        "flops_saved_percent": _percent(most("flops_saved_share")),
        "backward_passes_saved_percent": _percent(most("backward_passes_saved_share")),
        **quality,
    }


def _reduction(before: float | None, after: float | None) -> float | None:
    return 100 * (1 - after / before) if before and after is not None else None


def _percent(share: float | None) -> float | None:
    """In percent; None as well where the piece was never switched on."""
    return 100 * share if share else None


def _lines(table: dict[str, dict[str, Any]]) -> list[str]:
    columns = {
        "steps": ("steps_of_run", "d"), "reached": ("reached", "d"), "of": ("improved", "d"),
        "to target": ("iterations_to_target", ".0f"),
        "x fewer": ("iterations_ratio", ".2f"), "x faster": ("seconds_ratio", ".2f"), "loss": ("final_loss", ".4f"),
        "wobble": ("fluctuation", ".4f"), "conflicts": ("conflict_rate_before", ".3f"),
        "after": ("conflict_rate_after", ".3f"), "s/step": ("seconds_a_step", ".3f"), "MB": ("peak_mb", ".0f"),
    }  # fmt: skip
    lines = ["".join([f"{'':28}", *(f"{name:>10}" for name in columns)])]
    for name, row in table.items():
        cells = ["-" if row[key] is None else format(row[key], form) for key, form in columns.values()]
        lines.append("".join([f"{name:28}", *(f"{cell:>10}" for cell in cells)]))
    return lines


def _paper_lines(paper: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"{row['where']:32} {row['figure']:32} paper {row['paper']:28} "
        f"ours {'-' if row['ours'] is None else format(row['ours'], '.3g')}"
        for row in paper
    ]


def _spread(pairs: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of them, evenly chosen: pairs of one content stand side by side."""
    if count >= len(pairs):
        return list(pairs)
    return [pairs[int(index * len(pairs) / count)] for index in range(count)]


def _large(teacher: str) -> dict[str, float | None]:
    """Seconds and peak memory of one large synthesis, in a process of its own: this one's peak would count."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds, peak_mb = pool.submit(_synthesize_large, teacher).result()
    return {f"seconds_{LARGE}": seconds, f"peak_mb_{LARGE}": peak_mb}


def _synthesize_large(teacher: str) -> tuple[float, float]:
    import torch

    from muon_ad_core.bench.picture_pairs import CONTENTS, STYLES
    from muon_ad_core.distill.synthesis import synthesize
    from muon_ad_core.sources.photographs import photograph_path

    torch.set_num_threads(min(2, os.cpu_count() or 1))  # what the goal is stated for
    style, content = photograph_path(STYLES[0]), photograph_path(CONTENTS[0])
    result = synthesize([style], content=content, teacher=teacher, size=LARGE)
    return math.ceil(100 * result.seconds) / 100, result.peak_mb
