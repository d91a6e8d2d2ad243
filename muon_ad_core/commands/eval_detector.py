# SPDX-License-Identifier: Apache-2.0
"""Average precision of a detection engine, ours or an imported one, on pictures with boxes in COCO's format.

Needs pycocotools: pip install pycocotools
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.distill.coco_file import AnnotatedPicture, CocoFile
    from muon_ad_core.metrics.detection import ClassScore, DetectionScores

MOST_CLASSES = 15  # on the terminal; the result file has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad eval detector``."""
    parser.add_argument("engine", help="folder or name of an engine package")
    help_data = "COCO annotation file; FOLDER of the pictures when they are not beside it"
    parser.add_argument("--data", required=True, metavar="JSON[=FOLDER]", help=help_data)
    parser.add_argument("--level", default="", help="level of the engine, such as float (default: its first)")
    parser.add_argument("--backend", default="auto", help="runtime (default: auto)")


def measure(args: argparse.Namespace) -> Measurement:
    """Judge the engine. Raises a UserError for files that are wrong as a whole, or where pycocotools is missing."""
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.detect.detector import Detector
    from muon_ad_core.distill.coco_file import file_and_folder, read_coco_file
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.metrics.detection import detect_all, evaluate_detector, require_pycocotools

    require_pycocotools()
    package = EnginePackage.load(find_engine(args.engine))
    detector = Detector(package, args.backend, level=args.level)
    file, folder = file_and_folder(args.data)
    coco = read_coco_file(file, detector.classes, folder)
    scores = evaluate_detector(detect_all(detector), coco, detector.classes, show_progress)
    config = {"engine": args.engine, "data": args.data, "level": detector.level.name, "backend": detector.backend}
    left_out = {**coco.faults, **({"unreadable picture": scores.unreadable} if scores.unreadable else {})}
    results = {"pictures": scores.pictures, "left_out": left_out, "tables": [_class_table(scores.classes)]}
    inputs = [describe_input(package.root), describe_input(file)]
    return Measurement(config, results, scores.figures, _describe(scores, left_out, coco), inputs)


def show_progress(pictures: Sequence[AnnotatedPicture]) -> Iterable[AnnotatedPicture]:
    """The pictures one by one, with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    return track(pictures, description="pictures", console=Console(stderr=True), transient=True)


def _describe(scores: DetectionScores, left_out: dict[str, int], coco: CocoFile) -> str:
    lines = [f"{name:32} {'-' if value is None else f'{value:.4f}'}" for name, value in scores.figures.items()]
    labelled = sorted((score for score in scores.classes if score.boxes), key=lambda score: -score.boxes)
    lines += ["", f"{'class':32} {'AP':>6} {'AP50':>6} {'boxes':>6}"]
    lines += ["{:32} {:>6} {:>6} {:>6}".format(*_cells(score)) for score in labelled[:MOST_CLASSES]]
    if len(labelled) > MOST_CLASSES:
        lines.append(f"... and {len(labelled) - MOST_CLASSES} more classes, all of them in the result file (--json)")
    boxes = sum(len(picture.boxes) for picture in coco.pictures)
    lines += ["", f"{scores.pictures} pictures with {boxes} boxes"]
    lines += [f"left out: {count} x {fault}" for fault, count in left_out.items()]
    return "\n".join(lines)


def _class_table(classes: Sequence[ClassScore]) -> dict[str, Any]:
    return {"title": "Classes", "head": ["class", "AP", "AP50", "boxes"], "rows": [_cells(score) for score in classes]}


def _cells(score: ClassScore) -> list[str]:
    figures = ("–" if value is None else f"{value:.3f}" for value in (score.ap, score.ap50))
    return [score.name, *figures, str(score.boxes)]
