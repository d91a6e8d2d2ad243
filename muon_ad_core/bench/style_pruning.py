# SPDX-License-Identifier: Apache-2.0
"""Pruned students beside the whole one: parameters, multiply-accumulates, time a frame, style distance, content.

Packages that `muon-ad train student --prune` wrote tell their method and rate. Times are of one interleaved run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.style_contenders import Pixels
    from muon_ad_core.engine.package import EnginePackage

WHOLE = "whole"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench pruning``."""
    parser.add_argument("--engine", default="student", help="the whole student: a name or a folder (default: student)")
    parser.add_argument("--pruned", nargs="+", required=True, metavar="PACKAGE", help="packages, or folders of them")
    parser.add_argument("--level", default="fine", help="level that is compared (default: %(default)s)")
    parser.add_argument("--styles", type=Path, required=True, metavar="FOLDER", help="pictures of the engine's styles")
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.1 (safetensors), which judges")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs (default: scikit-image's)")
    parser.add_argument("--count", type=int, default=4, help="most photographs taken (default: %(default)s)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="size of a frame (default: 640x480)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all processors)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each student (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=20, help="frames a turn (default: %(default)s)")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when a package, pictures or weights cannot be read."""
    from muon_ad_core.bench import engine_figures
    from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
    from muon_ad_core.bench.engine import read_size
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.picture_pairs import evenly_chosen, named_pictures
    from muon_ad_core.bench.style_comparison import style_pictures
    from muon_ad_core.bench.style_quality import PHOTOGRAPHS, resized
    from muon_ad_core.bench.witness import Witness
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.stylize import Stylizer

    if args.count < 1 or args.rounds < 1 or args.frames < 1:
        raise ParameterError("--count, --rounds and --frames must be at least 1")
    size = read_size(args.size)
    packages = [EnginePackage.load(find_engine(args.engine)), *pruned_packages(args.pruned)]
    names = [style["name"] for style in packages[0].manifest["styles"]]
    styles = style_pictures(args.styles, names)
    if len(styles) < 2:
        raise ParameterError(f"{args.styles} has pictures of fewer than two styles of the engine")
    chosen = evenly_chosen(named_pictures(args.photos, PHOTOGRAPHS), args.count)
    photographs = [resized(picture, size) for _, picture in chosen]
    rows, timed = [], []
    for package in packages:
        stylizer = Stylizer(package, threads=args.threads)
        stylizer.set_level(args.level)
        rows.append(
            {**describe(package, args.level), **_judged(stylizer, args.level, photographs, styles, args.weights)}
        )
        timed.append(engine_figures.Contender(rows[-1]["name"], stylizer.run))
        print(f"{len(rows)} of {len(packages)}: {rows[-1]['name']}", flush=True)
    with Witness() as witness:
        engine_figures.time_in_turns(timed, photographs[0], args.rounds, args.frames, lambda: None)
    for row, contender in zip(rows, timed):
        row["ms"] = contender.median_ms
    rows.sort(key=lambda row: (row["rate"], row["method"]))
    samples = {contender.name: Series("ms", contender.times, LOWER) for contender in timed}
    config = {"engine": packages[0].name, "level": args.level, "size": args.size, "rounds": args.rounds,
              "frames": args.frames, "photographs": len(photographs), "styles": list(styles)}  # fmt: skip
    inputs = [describe_input(package.root) for package in packages]
    return Measurement(
        config, {"rows": rows}, summarise(rows), "\n".join(table(rows)), inputs, samples, stalls=witness.stalls
    )


def pruned_packages(names: Sequence[str]) -> list[EnginePackage]:
    """Packages by name or folder, and those directly inside of folders; ParameterError for one that is not pruned."""
    from muon_ad_core.engine.package import MANIFEST, EnginePackage, find_engine

    folders: list[Path] = []
    for name in names:
        inside = sorted(file.parent for file in Path(name).glob(f"*/{MANIFEST}"))
        folders += inside or [find_engine(name)]
    packages = [EnginePackage.load(folder) for folder in folders]
    for package in packages:
        if package.task != "style" or "pruning" not in package.manifest:
            raise ParameterError(f"{package.root} is no pruned student: make one by muon-ad train student --prune")
    return packages


def describe(package: EnginePackage, level: str) -> dict[str, Any]:
    """Name, method, rate and size of a package's level."""
    pruning: Mapping[str, Any] = package.manifest.get("pruning", {"method": WHOLE, "rate": 0.0})
    chosen, network = package.level(level), package.manifest["network"]
    name = WHOLE if pruning["method"] == WHOLE else f"{pruning['method']} {pruning['rate']:.0%}"
    return {
        "name": name, "method": pruning["method"], "rate": float(pruning["rate"]), "parameters": chosen.parameters,
        "macs": chosen.macs, "width": network["width"], "blocks": network["blocks"],
        "inner": list(network.get("inner", [])),
    }  # fmt: skip


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Speed and style of each rate of the project's method, relative to the whole student."""
    whole = next(row for row in rows if row["method"] == WHOLE)
    summary: dict[str, float | None] = {"ms_whole": whole["ms"]}
    for row in rows:
        if row["method"] == "gradual":
            end = f"_{round(100 * row['rate'])}"
            summary[f"speedup{end}"] = whole["ms"] / row["ms"]
            summary[f"swd_ratio{end}"] = row["sliced_wasserstein"] / whole["sliced_wasserstein"]
            summary[f"content{end}"] = row["content"]
    return summary


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For a terminal."""
    measures = [key for key in rows[0] if key not in ("name", "method", "rate", "width", "blocks", "inner")]
    lines = [f"{'student':18}" + "".join(f"{measure:>26}" for measure in measures) + "  body"]
    for row in rows:
        cells = "".join(f"{row[measure]:>26.5g}" for measure in measures)
        lines.append(f"{row['name']:18}{cells}  {row['blocks']} blocks of {row['width']} {row['inner'] or ''}")
    return lines


def _judged(
    stylizer: Any, level: str, photographs: Sequence[Pixels], styles: Mapping[str, Pixels], weights: Path
) -> dict[str, float]:
    """Mean distances to style and photograph."""
    from muon_ad_core.bench.style_contenders import our_levels
    from muon_ad_core.bench.style_judging import StyleJudge
    from muon_ad_core.metrics.detector_style import DetectorStyle
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

    contenders = [*our_levels(stylizer, [level])]
    judge = StyleJudge(contenders, PerceptualNetwork(weights), DetectorStyle())
    for style, picture in styles.items():
        for photograph in photographs:
            judge.add(photograph, style, picture)
    ledger = judge.ledgers[contenders[0].name]
    return {"content": fmean(ledger.content), **{name: fmean(values) for name, values in ledger.style.items()}}
