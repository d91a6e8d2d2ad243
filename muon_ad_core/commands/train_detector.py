# SPDX-License-Identifier: Apache-2.0
"""Train the object detector on COCO-format data sets and write it as an engine package.

Annotations with a `score` in 0..1 are soft labels, as `python -m muon_ad_core.distill.detector_teachers` writes them
for photographs. The run folder keeps a checkpoint: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import UserError

if TYPE_CHECKING:
    from muon_ad_core.distill.detector_lessons import Lesson
    from muon_ad_core.distill.detector_trainer import DetectorTrainer, DetectorTraining
    from muon_ad_core.nets.detector import DetectorNet

LIMITS = (
    "Small objects (below about 1/20 of the picture's width) are often missed; classes with few training boxes are "
    "weak. Scores follow the overlap of boxes, they are no probabilities: tune the threshold on your own pictures."
)
CACHE_TO_INPUT = 1.25  # pictures are kept a little larger than the input: zooming in stays sharp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lesson = parser.add_mutually_exclusive_group(required=True)
    help_data = "COCO annotation files; FOLDER of the pictures when they are not beside the file"
    lesson.add_argument("--data", nargs="+", metavar="JSON[=FOLDER]", help=help_data)
    help_maps = "teachers' maps of photographs, as `python -m muon_ad_core.distill.detector_maps` stores them"
    lesson.add_argument("--maps", type=Path, metavar="FOLDER", help=help_maps)
    parser.add_argument("--validation", metavar="JSON[=FOLDER]", help="COCO file to measure AP on (needs pycocotools)")
    parser.add_argument("--classes", type=Path, help="text file, one class a line (default: COCO's 80 classes)")
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", help="folder of checkpoint and log")
    parser.add_argument("--output", type=Path, help="engine package to write at the end (default: RUN/detector)")
    parser.add_argument(
        "--start", metavar="PACKAGE", help="engine package (folder or name) whose weights to start from"
    )
    help_blocks = (
        "residual blocks of the three stages; a start package's network gets the missing ones, which change nothing"
    )
    parser.add_argument("--blocks", type=_three_numbers, metavar="A,B,C", help=help_blocks)
    help_prune = (
        "share of the start package's arithmetic to remove, 0..1: first part of the run; the rest trains what is left"
    )
    parser.add_argument("--prune", type=float, metavar="RATE", help=help_prune)
    help_method = (
        "how to choose them: gradual (importance from the training's gradients, retention schedule; default), or \
at once: magnitude, random, layerdrop (whole blocks)"
    )
    parser.add_argument("--prune-method", default="gradual", metavar="METHOD", help=help_method)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=0, help="length of the training in updates")
    length.add_argument("--minutes", type=float, default=0.0, help="length of the training in time")
    parser.add_argument("--batch", type=int, default=16, help="pictures an update (default %(default)s)")
    parser.add_argument("--size", type=int, default=320, help="side of the network's input (default %(default)s)")
    parser.add_argument("--start-size", type=int, default=224, help="input side at the start (default %(default)s)")
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="peak learning rate (default %(default)s)")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16, for CPUs with AMX or AVX512-BF16")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="0.1.0", help="version written to the package (default %(default)s)")
    parser.add_argument("--note", default="", help="what the model card tells about the data's origin and licence")


def run(args: argparse.Namespace) -> int:
    from muon_ad_core.commands.train_loop import prepare_processor, train_with_progress
    from muon_ad_core.distill.coco_classes import COCO_CLASSES, read_classes
    from muon_ad_core.distill.detector_trainer import DetectorTraining

    if not args.steps and not args.minutes:
        raise UserError("say how long to train: --steps or --minutes.")
    if args.prune and not args.start:
        raise UserError("say which trained detector to prune: --start PACKAGE.")
    prepare_processor(args.threads)
    if args.maps and args.classes:
        raise UserError("teachers' maps are of COCO's 80 classes: leave out --classes.")
    classes = read_classes(args.classes) if args.classes else COCO_CLASSES
    if args.validation:  # now, not after hours of training
        check_validation(args.validation, classes)
    lesson, data = _maps(args.maps) if args.maps else _boxes(args.data, classes, round(CACHE_TO_INPUT * args.size))
    recipe = DetectorTraining(
        steps=args.steps, minutes=args.minutes, batch=args.batch, size=args.size, start_size=args.start_size,
        optimizer=args.optimizer, learning_rate=args.learning_rate, seed=args.seed, bfloat16=args.bfloat16,
    )  # fmt: skip
    args.run_folder.mkdir(parents=True, exist_ok=True)
    trainer = _trainer(args, lesson, recipe, len(classes))
    train_with_progress(trainer, args.run_folder)
    target = args.output or args.run_folder / "detector"
    _write(trainer, classes, target, {"data": data, "note": args.note, "limits": LIMITS}, args)
    print(f"engine package: {target}")
    return 0


def _trainer(args: argparse.Namespace, lesson: Lesson, recipe: DetectorTraining, classes: int) -> DetectorTrainer:
    """The run that args tell of: new, from a package's weights, from what pruning left of them, or resumed."""
    from muon_ad_core.commands.train_loop import CHECKPOINT
    from muon_ad_core.distill.detector_pruning import DetectorPruning
    from muon_ad_core.distill.detector_trainer import DetectorTrainer, checkpoint_shape
    from muon_ad_core.distill.gradual_pruning import GRADUAL_SHARE
    from muon_ad_core.nets.detector import DetectorShape

    pruning = DetectorPruning(args.prune, args.prune_method) if args.prune else None
    gradual = pruning is not None and pruning.method == "gradual"
    whole_recipe = recipe
    if gradual:
        recipe = recipe.part(1 - GRADUAL_SHARE)
    checkpoint = args.run_folder / CHECKPOINT
    if checkpoint.is_file():
        trainer = DetectorTrainer(checkpoint_shape(checkpoint), lesson, recipe)
        trainer.load(checkpoint)
        return trainer
    if not args.start:
        shape = DetectorShape(classes=classes, **({"blocks": args.blocks} if args.blocks else {}))
        return DetectorTrainer(shape, lesson, recipe)
    network = _start_network(args.start, classes)
    if args.blocks:
        network = _deepened(network, args.blocks)
    if gradual:
        first_part = whole_recipe.part(GRADUAL_SHARE)
        network = _prune_gradually(network, lesson, first_part, args.prune, args.run_folder / "pruning")
    elif pruning:
        from muon_ad_core.distill.detector_pruning import prune_at_once

        network = prune_at_once(network, pruning, args.seed)
    trainer = DetectorTrainer(network.shape, lesson, recipe)
    trainer.start_from(network)
    return trainer


def _start_network(start: str, classes: int) -> DetectorNet:
    from muon_ad_core.distill.detector_package import read_network
    from muon_ad_core.engine.package import EnginePackage, find_engine

    network = read_network(EnginePackage.load(find_engine(start)))
    if network.shape.classes != classes:
        raise UserError(
            f"{start} is for {network.shape.classes} classes, not {classes}: name its classes in --classes."
        )
    return network


def _deepened(network: DetectorNet, blocks: tuple[int, int, int]) -> DetectorNet:
    from muon_ad_core.nets.detector import deepened

    try:
        return deepened(network, blocks)
    except ValueError as error:
        raise UserError(f"--blocks: {error}; to take blocks out, prune.") from error


def _three_numbers(text: str) -> tuple[int, int, int]:
    first, second, third = (int(part) for part in text.split(","))
    return first, second, third


def _prune_gradually(
    network: DetectorNet, lesson: Lesson, recipe: DetectorTraining, rate: float, folder: Path
) -> DetectorNet:
    """What is left of a network after a run that silences more and more of its channels."""
    from muon_ad_core.commands.train_loop import resume_if_interrupted, train_with_progress
    from muon_ad_core.distill.detector_pruning import DetectorGradualPruning
    from muon_ad_core.distill.detector_trainer import DetectorTrainer

    trainer = DetectorTrainer(network.shape, lesson, recipe)
    trainer.start_from(network)
    pruning = DetectorGradualPruning(trainer, rate)
    resume_if_interrupted(trainer, folder, pruning)
    train_with_progress(trainer, folder, pruning)
    return pruning.finish()


def _write(
    trainer: DetectorTrainer, classes: tuple[str, ...], target: Path, origin: dict[str, Any], args: argparse.Namespace
) -> None:
    """The package; measured, level by level, when there is a validation set."""
    from muon_ad_core.distill.coco_file import file_and_folder
    from muon_ad_core.distill.detector_package import export_detector, finish_package
    from muon_ad_core.engine.package import EnginePackage, find_engine

    fields = export_detector(trainer, classes, target, args.version, origin)
    if args.prune:
        start = EnginePackage.load(find_engine(args.start)).manifest
        source = f"{start['name']} {start['version']}"
        fields["pruning"] = {
            "method": args.prune_method, "rate": args.prune, "start": source,
            "run": {"steps": args.steps, "minutes": args.minutes, "seed": args.seed},
        }  # fmt: skip
    finish_package(target, fields, {})
    if args.validation:
        finish_package(target, fields, measure(target, *file_and_folder(args.validation)))


def check_validation(argument: str, classes: tuple[str, ...]) -> None:
    """Raise UserError when the set could not be measured on."""
    from muon_ad_core.distill.coco_file import file_and_folder, read_coco_file
    from muon_ad_core.metrics.detection import require_pycocotools

    require_pycocotools()
    file, folder = file_and_folder(argument)
    read_coco_file(file, classes, folder)


def measure(target: Path, file: Path, folder: Path | None) -> dict[str, float]:
    """AP, AP50 and person AP50 of every level of a package, through the detector that users run."""
    from muon_ad_core.detect.detector import Detector
    from muon_ad_core.distill.coco_file import read_coco_file
    from muon_ad_core.engine.package import EnginePackage
    from muon_ad_core.metrics.detection import detect_all, evaluate_detector

    package = EnginePackage.load(target)
    metrics: dict[str, float] = {}
    for level in package.levels:
        detector = Detector(package, level=level.name)
        coco = read_coco_file(file, detector.classes, folder)
        figures = evaluate_detector(detect_all(detector), coco, detector.classes).figures
        for name in ("ap", "ap50", "person_ap50"):
            value = figures.get(name)
            if value is not None:
                metrics[f"{name}_{level.name}"] = round(value, 4)
    return metrics


def _boxes(arguments: list[str], classes: tuple[str, ...], longest: int) -> tuple[Lesson, list[str]]:
    """The lesson of COCO files, and what the model card tells about each; faults are printed."""
    from muon_ad_core.distill.coco_file import file_and_folder
    from muon_ad_core.distill.detector_data import PictureCache, read_coco
    from muon_ad_core.distill.detector_lessons import BoxLesson

    caches, data = [], []
    for argument in arguments:
        file, folder = file_and_folder(argument)
        coco = read_coco(file, classes, folder)
        cache = PictureCache(coco, longest)
        for fault, count in coco.faults.items():
            print(f"{file}: {count} x {fault}, left out", file=sys.stderr)
        scores = [score for sample in cache.samples for score in sample.scores]
        soft = sum(bool(score < 1) for score in scores)
        faults = "".join(f"; left out: {count:,} x {fault}" for fault, count in coco.faults.items())
        data.append(f"{file.name}: {len(cache):,} pictures, {len(scores):,} boxes ({soft:,} soft){faults}")
        caches.append(cache)
    return BoxLesson(caches), data


def _maps(folder: Path) -> tuple[Lesson, list[str]]:
    """The lesson of stored teachers' maps, and what the model card tells about them."""
    from muon_ad_core.distill.detector_lessons import MapLesson
    from muon_ad_core.distill.detector_maps import MapSet

    maps = MapSet(folder)
    data = [f"teachers' maps of {len(views):,} views of {size} pixels" for size, views in maps.views.items()]
    return MapLesson(maps), data
