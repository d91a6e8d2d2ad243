# SPDX-License-Identifier: Apache-2.0
"""Detectors side by side: time a frame from uint8 picture to boxes, in one interleaved run, and average precision.

The engine's levels, pruned packages, and peers (engine packages, or FastestDet, NanoDet-m, YOLOX-nano and
Yolo-FastestV2 under their usual file names). Average precision needs --data and pycocotools; ncnn's files need ncnn.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.detector_contenders import Contender
    from muon_ad_core.detect.detector import Detector
    from muon_ad_core.distill.coco_file import CocoFile

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench detector``."""
    parser.add_argument("--engine", default="detector", help="engine package: a name or a folder (default: detector)")
    help_data = "COCO annotation file for average precision; FOLDER of the pictures when they are not beside it"
    parser.add_argument("--data", metavar="JSON[=FOLDER]", help=help_data)
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="folder of peers")
    help_pruned = "pruned packages, or folders of them (default: the engine detector_pruned, where it is installed)"
    parser.add_argument("--pruned", nargs="+", default=[], metavar="PACKAGE", help=help_pruned)
    help_clip = "RGB-D folder in the layout of 7-Scenes: adds distances, also of the emulated D415 (needs pyrealsense2)"
    parser.add_argument("--clip", type=Path, metavar="FOLDER", help=help_clip)
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each network (default: 15)")
    parser.add_argument("--frames", type=int, default=20, help="frames a turn (default: 20)")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure. Raises a UserError for packages, peers or annotations that cannot be used."""
    for name in ("threads", "rounds", "frames"):
        if getattr(args, name) < 1:
            raise ParameterError(f"--{name} must be at least 1, not {getattr(args, name)}")
    with tempfile.TemporaryDirectory() as folder:
        return _measure(args, Path(folder))


def _measure(args: argparse.Namespace, folder: Path) -> Measurement:
    import cv2

    from muon_ad_core.bench import detector_figures
    from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
    from muon_ad_core.bench.detector_timing import frames, time_detectors
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.witness import Witness
    from muon_ad_core.detect.detector import Detector
    from muon_ad_core.distill.coco_file import file_and_folder

    cv2.setNumThreads(args.threads)
    contenders = _contenders(args, folder)
    detectors = {
        contender.name: Detector(contender.package, threads=args.threads, level=contender.level.name)
        for contender in contenders
    }
    coco = _annotations(args.data, detectors[contenders[0].name]) if args.data else None
    pictures = _pictures(coco)
    with Witness() as witness, _progress("times", args.rounds) as advance:
        times = time_detectors(detectors, frames(pictures), args.rounds, args.frames, advance)
    precisions = _precisions(args.data, contenders, detectors) if args.data else {}
    depth = _distances(args.clip, args.engine) if args.clip else {}
    rows = detector_figures.make_rows(contenders, detectors, times, precisions)
    summary, missing = detector_figures.summarise(contenders, rows)
    summary |= {f"depth_{name}": value for name, value in depth.items()}
    tables = detector_figures.tables(rows)
    config = {
        "engine": args.engine, "data": args.data or "", "pruned": args.pruned, "peers": str(args.peers or ""),
        "clip": str(args.clip or ""),
        "threads": args.threads, "rounds": args.rounds, "frames": args.frames,
    }  # fmt: skip
    inputs = [describe_input(contender.package.root, contender.name) for contender in contenders]
    if args.data:
        inputs.append(describe_input(file_and_folder(args.data)[0]))
    shown = [contenders[0], *(c for c in contenders if c.kind in ("pruned", "peer"))][:3]
    return Measurement(
        config,
        {"networks": detector_figures.plain(rows), "missing": missing, "tables": tables},
        summary,
        detector_figures.describe(tables, missing, depth),
        inputs,
        {f"ms {name}": Series("ms", own.whole, LOWER) for name, own in times.items()},
        stalls=witness.stalls,
        pictures=[detector_figures.draw_sheet(pictures, [(c.name, detectors[c.name]) for c in shown])],
    )


def _contenders(args: argparse.Namespace, folder: Path) -> list[Contender]:
    """All that take part, the engine's first level first; raises ParameterError when two have one name."""
    from muon_ad_core.bench.detector_contenders import our_contenders, peer_contenders, pruned_contenders
    from muon_ad_core.engine.package import EnginePackage, find_engine

    contenders = our_contenders(EnginePackage.load(find_engine(args.engine)))
    contenders += pruned_contenders(args.pruned)
    if args.peers:
        contenders += peer_contenders(args.peers, folder)
    names = [contender.name for contender in contenders]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ParameterError(f"two packages are named {min(twice)}: give their folders different names")
    return contenders


def _annotations(data: str, detector: Detector) -> CocoFile:
    from muon_ad_core.distill.coco_file import file_and_folder, read_coco_file
    from muon_ad_core.metrics.detection import require_pycocotools

    require_pycocotools()
    file, folder = file_and_folder(data)
    return read_coco_file(file, detector.classes, folder)


def _pictures(coco: CocoFile | None) -> list[NDArray[np.uint8]]:
    """Pictures to time on and to show: annotated ones, or the photographs that come with scikit-image."""
    from muon_ad_core.errors import SourceError
    from muon_ad_core.metrics.evaluate import read_picture
    from muon_ad_core.sources.photographs import load_photograph

    if coco is None:
        return [load_photograph(name) for name in PHOTOGRAPHS]
    pictures = []
    for picture in coco.pictures[:: max(1, len(coco.pictures) // 32)]:
        try:
            pictures.append(read_picture(picture.file))
        except SourceError:  # counted when average precision is measured
            continue
    return pictures or [load_photograph(name) for name in PHOTOGRAPHS]


def _precisions(
    data: str, contenders: Sequence[Contender], detectors: Mapping[str, Detector]
) -> dict[str, dict[str, float | None]]:
    """Average precisions of each contender; what was left out of the annotations is printed once."""
    from muon_ad_core.commands.eval_detector import show_progress
    from muon_ad_core.metrics.detection import detect_all, evaluate_detector

    precisions = {}
    for contender in contenders:
        detector = detectors[contender.name]
        print(f"average precision of {contender.name}", flush=True)
        coco = _annotations(data, detector)
        scores = evaluate_detector(detect_all(detector), coco, detector.classes, show_progress)
        precisions[contender.name] = scores.figures
        if contender is contenders[0]:
            for fault, count in (coco.faults + Counter({"unreadable picture": scores.unreadable})).items():
                print(f"left out: {count} x {fault}")
    return precisions


def _distances(clip: Path, engine: str) -> dict[str, float | None]:
    """What depth_check measures; None for an error that has no bound."""
    from muon_ad_core.bench.depth_check import measure_depth

    return {name: value if math.isfinite(value) else None for name, value in measure_depth(clip, engine).items()}


@contextlib.contextmanager
def _progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error; yields what moves it on by one."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda: progress.advance(task)
