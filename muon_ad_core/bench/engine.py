# SPDX-License-Identifier: Apache-2.0
"""The style engine's speed, uint8 frame to uint8 frame: levels, runtimes, thread counts and sizes, with peers.

Each size is one interleaved run of ours, of a Johnson network and of a MicroAST-shaped one in ONNX Runtime and
OpenVINO; their weights are random, as speed does not depend on them, unless --johnson-graphs names trained ones. They
need PyTorch; those of --johnson need ncnn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.engine_figures import Contender
    from muon_ad_core.engine.package import EnginePackage
    from muon_ad_core.stylize import Stylizer

PHOTOGRAPH = "astronaut.png"
ENCODINGS_TIMED = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench engine``."""
    parser.add_argument("--engine", default="student", help="engine package: a name or a folder (default: student)")
    parser.add_argument("--sizes", nargs="+", default=["640x480", "1280x720", "1920x1080"], metavar="WxH")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1, and all processors)")
    parser.add_argument(
        "--johnson", type=Path, metavar="FOLDER", help="Johnson networks in ncnn's format, timed at the first size"
    )
    parser.add_argument(
        "--johnson-graphs", type=Path, metavar="FOLDER", help="what muon-ad train johnson wrote, in place of its like"
    )
    parser.add_argument("--no-peers", action="store_true", help="only this project's engine")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender (default: 9)")
    parser.add_argument("--frames", type=int, default=20, help="frames a turn; slow contenders do one (default: 20)")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when the engine or a size cannot be used."""
    import os

    import cv2

    from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
    from muon_ad_core.bench.engine_fidelity import int8_against_float
    from muon_ad_core.bench.engine_figures import make_rows, make_summary, time_in_turns
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.style_peers import export_peers
    from muon_ad_core.bench.witness import Witness
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.sources.photographs import load_photograph

    if args.rounds < 1 or args.frames < 1:
        raise ParameterError("--rounds and --frames must be at least 1")
    sizes = [read_size(text) for text in args.sizes]
    threads = sorted(set(args.threads or (1, len(os.sched_getaffinity(0)))))
    if threads[0] < 1:
        raise ParameterError(f"--threads must be at least 1, not {threads[0]}")
    cv2.setNumThreads(threads[-1])
    package = EnginePackage.load(find_engine(args.engine))
    photograph = load_photograph(PHOTOGRAPH)
    measured: dict[tuple[int, int], list[Contender]] = {}
    with tempfile.TemporaryDirectory() as folder, Witness() as witness:
        graphs, left_out = ({}, "peers were not asked for") if args.no_peers else export_peers(Path(folder))
        if args.johnson_graphs and not args.no_peers:
            graphs |= _trained(args.johnson_graphs)
        for size in sizes:
            contenders = [*_ours(package, threads)]
            # ncnn's take over a second a frame: once is enough.
            in_ncnn = args.johnson if size == sizes[0] and not args.no_peers else None
            contenders += [*_peers(graphs, in_ncnn, threads[-1])]
            print(f"{size[0]}x{size[1]}: {len(contenders)} contenders, {args.rounds} rounds", flush=True)
            frame = cv2.resize(photograph, size, interpolation=cv2.INTER_AREA)
            time_in_turns(contenders, frame, args.rounds, args.frames, lambda: None)
            for contender in contenders:
                contender.paint = _gone  # gives its memory back
            measured[size] = contenders
    rows = make_rows(measured)
    summary = {**make_summary(measured), **int8_against_float(package), "style_encode_ms": _style_encode_ms(package)}
    samples = {
        f"{size[0]}x{size[1]} {contender.name}": Series("ms", contender.times, LOWER)
        for size, contenders in measured.items()
        for contender in contenders
    }
    config = {"engine": package.name, "version": package.version, "sizes": args.sizes, "threads": threads,
              "rounds": args.rounds, "frames": args.frames, "left_out": left_out}  # fmt: skip
    lines = [f"{'size':10} {'contender':44} {'ms':>9} {'frames/s':>9} {'times ours':>10}"]
    for row in rows:
        ratio = "-" if row["times_our_fast"] is None else f"{row['times_our_fast']:.1f}"
        lines.append(f"{row['size']:10} {row['name']:44} {row['median_ms']:9.2f} {row['fps']:9.1f} {ratio:>10}")
    lines += [f"{name:28} {'-' if value is None else f'{value:.4g}'}" for name, value in summary.items()]
    lines += [left_out] if left_out else []
    lines.append(f"the machine stood still {len(witness.stalls.events)} times meanwhile")
    inputs = [describe_input(package.root)]
    return Measurement(config, {"rows": rows}, summary, "\n".join(lines), inputs, samples, stalls=witness.stalls)


def read_size(text: str) -> tuple[int, int]:
    """(width, height) of "640x480"; raises ParameterError for anything else."""
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) <= 8192 for part in parts):
        raise ParameterError(f"--sizes must be like 640x480, not '{text}'")
    return int(parts[0]), int(parts[1])


def _ours(package: EnginePackage, threads: list[int]) -> Iterator[Contender]:
    """Every level in every runtime with every number of threads; smoothed in time as a node runs it."""
    from muon_ad_core.bench.engine_figures import SMOOTHED, Contender, panning
    from muon_ad_core.engine.runtime import available_backends
    from muon_ad_core.smoothing import USUAL_SHARE
    from muon_ad_core.stylize import Stylizer

    backends = available_backends()
    for backend in backends:
        for count in threads:
            for level in package.levels:
                stylizer = Stylizer(package, backend, count)
                stylizer.set_level(level.name)
                plural = "thread" if count == 1 else "threads"
                name = f"Muon-AD {level.name}, {backend} {level.precision}, {count} {plural}"
                yield Contender(name, stylizer.run, level.name, backend, count)
    for level in package.levels:
        stylizer = Stylizer(package, backends[0], threads[-1])
        stylizer.set_level(level.name)
        stylizer.set_temporal_smoothing(USUAL_SHARE)
        yield Contender(f"{SMOOTHED} {level.name}", panning(stylizer.run))


def _peers(graphs: dict[str, Path], johnson: Path | None, threads: int) -> Iterator[Contender]:
    from muon_ad_core.bench.engine_figures import Contender
    from muon_ad_core.bench.style_peers import open_ncnn, open_peers

    for name, painter in open_peers(graphs, threads):
        yield Contender(name, painter)
    if johnson is not None:
        for name, painter in open_ncnn(johnson, threads):
            yield Contender(name, painter)


def _trained(folder: Path) -> dict[str, Path]:
    """The first trained network: they differ in nothing but weights."""
    from muon_ad_core.bench.style_peers import JOHNSON, int8_graph, trained_johnson

    graph = next(iter(trained_johnson(folder).values()))
    return {f"{JOHNSON} float": graph, f"{JOHNSON} int8": int8_graph(graph)}


def _gone(frame: object) -> None:
    """In the place of a contender that has been timed."""


def _style_encode_ms(package: EnginePackage) -> float:
    from muon_ad_core.sources.photographs import load_photograph
    from muon_ad_core.stylize import Stylizer

    return median(_encode_times(Stylizer(package), load_photograph(PHOTOGRAPH))[1:])


def _encode_times(stylizer: Stylizer, picture: object) -> list[float]:
    times = []
    for _ in range(ENCODINGS_TIMED):
        began = time.perf_counter()
        stylizer.add_style("timed", picture)  # type: ignore[arg-type]
        times.append(1e3 * (time.perf_counter() - began))
    return times
