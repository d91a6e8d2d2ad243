# SPDX-License-Identifier: Apache-2.0
"""Fill the paper's tables (arXiv 2504.08451): its figure, ours, and what ours is from or why it is missing.

Runs what this machine can run into --results (a few minutes), except what is there already; result files put there by
hand (demo.json, joint.json, a detector.json with --data) are used too.
"""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement

RECORDING = "RECORDING"  # stands for the benchmark bag
# Result file -> (name of the benchmark, its module, its options).
RUNS: dict[str, tuple[str, str, list[str]]] = {
    "quality": ("quality", "muon_ad_core.bench.style_quality", []),
    "detector": ("detector", "muon_ad_core.bench.detector", []),
    "replay-style": (
        "replay",
        "muon_ad_core.bench.replay",
        [RECORDING, "--graph", "style", "--runs", "3", "--find-peak"],
    ),
    "replay-joint": ("replay", "muon_ad_core.bench.replay", [RECORDING, "--graph", "joint", "--runs", "3"]),
}
BAG, BAG_SECONDS = "motorcycle", 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench paper``."""
    parser.add_argument("--results", type=Path, default=Path("out/paper"), help="folder (default: out/paper)")
    parser.add_argument("--no-run", action="store_true", help="only use results that are there")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 (safetensors): adds FID[squeeze]; needs PyTorch")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure what is missing and fill the tables; raises a UserError when a benchmark cannot run."""
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.paper_tables import fill
    from muon_ad_core.bench.result_file import read_document

    if not args.no_run:
        for name in RUNS:
            if not (args.results / f"{name}.json").is_file():
                print(f"Measuring {name}", flush=True)
                _run(name, args.results, args.weights)
    files = sorted(args.results.glob("*.json"))
    tables = fill({file.stem: read_document(file) for file in files})
    cells = [row for table in tables for row in table["rows"]]
    summary = {"figures": len(cells), "measured": sum(row[3] != "–" for row in cells)}
    config = {"results": str(args.results), "runs": not args.no_run}
    return Measurement(config, {"tables": tables}, summary, _describe(tables), [describe_input(file) for file in files])


def _run(name: str, folder: Path, weights: Path | None) -> None:
    from muon_ad_core.bench.bag_maker import make_bag
    from muon_ad_core.bench.machine_facts import describe_machine
    from muon_ad_core.bench.result_file import make_document, write_document

    kind, module, options = RUNS[name]
    recording = folder / BAG
    if RECORDING in options and not recording.exists():
        make_bag(BAG, recording, BAG_SECONDS)
    options = [str(recording) if option == RECORDING else option for option in options]
    if name == "quality" and weights is not None:
        options = [*options, "--weights", str(weights)]
    benchmark = importlib.import_module(module)
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    measurement = benchmark.measure(parser.parse_args(options))
    write_document(folder / f"{name}.json", make_document(kind, describe_machine(os.environ), measurement))


def _describe(tables: list[dict[str, Any]]) -> str:
    lines = []
    for table in tables:
        lines += ["", table["title"], f"  {'':24} {'figure':26} {'paper':>16} {'ours':>10}  ours is from"]
        lines += [f"  {row[0]:24} {row[1]:26} {row[2]:>16} {row[3]:>10}  {row[4]}" for row in table["rows"]]
    return "\n".join(lines).strip("\n")
