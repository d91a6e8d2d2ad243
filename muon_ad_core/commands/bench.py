# SPDX-License-Identifier: Apache-2.0
"""Run one benchmark; print its figures, and write them as JSON where asked. Or compare two such files."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

# Benchmark -> (module with add_arguments and measure, one line of help).
BENCHMARKS = {
    "joint": ("muon_ad_core.bench.joint", "what detection and other load do to style, with and without policies"),
    "replay": ("muon_ad_core.bench.replay", "a recording played through the graph: latency, losses, load, peak rate"),
    "quality": ("muon_ad_core.bench.style_quality", "photographs in every style: likeness, detail kept, time an image"),
    "engine": ("muon_ad_core.bench.engine", "the style engine beside other networks: time a frame, runtime by runtime"),
    "precision": (
        "muon_ad_core.bench.precision",
        "one level in float32, bfloat16, mixed and INT8: time, likeness, memory",
    ),
    "pruning": ("muon_ad_core.bench.style_pruning", "pruned students side by side: size, time a frame, style, content"),
    "detector": ("muon_ad_core.bench.detector", "detectors side by side, ours, pruned and peers: time and precision"),
    "optimizers": ("muon_ad_core.bench.optimizers", "Muon and what belongs to it against AdamW: steps to its loss"),
    "synthesis": ("muon_ad_core.bench.synthesis", "photographs painted by a teacher, an untrained one, and baselines"),
    "paper": ("muon_ad_core.bench.paper", "the paper's tables with our measured figures beside the paper's"),
    "sync": ("muon_ad_core.bench.sync", "frame pairs lost by arrival stamps and by translated stamps (simulation)"),
    "cameras": ("muon_ad_core.bench.cameras", "frames and pairs of an emulated D415 through the real nodes"),
    "view": ("muon_ad_core.bench.view", "what the live view costs: pictures a second, processor time, style latency"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command a benchmark, and one that compares results."""
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="benchmark")
    for name, (module, text) in BENCHMARKS.items():
        benchmark = importlib.import_module(module)
        sub_parser = benchmarks.add_parser(name, help=text, description=benchmark.__doc__)
        sub_parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
        benchmark.add_arguments(sub_parser)
        sub_parser.set_defaults(measure=benchmark.measure)
    compare = importlib.import_module("muon_ad_core.bench.compare")
    sub_parser = benchmarks.add_parser("compare", help="two results of one benchmark", description=compare.__doc__)
    compare.add_arguments(sub_parser)
    sub_parser.set_defaults(measure=None)


def run(args: argparse.Namespace) -> int:
    """Measure; returns 0 whatever the figures are."""
    if args.measure is None:
        from muon_ad_core.bench.compare import run as compare

        return compare(args)
    from muon_ad_core.bench.result_file import publish

    publish(args.benchmark, args.measure(args), args.json)
    return 0
