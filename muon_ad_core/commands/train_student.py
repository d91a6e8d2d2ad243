# SPDX-License-Identifier: Apache-2.0
"""Train the student and its style encoder on a folder of photographs and a folder of style pictures, or prune one.

Runs on any pictures (COCO and WikiArt folders, too); an index.csv beside the styles (file, artist, work) tells
their origin. The run folder keeps a checkpoint: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import UserError

if TYPE_CHECKING:
    from muon_ad_core.distill.student_trainer import StudentTrainer, StudentTraining, StyledStudent
    from muon_ad_core.engine.finishing import Finish
    from muon_ad_core.engine.package import EnginePackage

PRUNING, LATENCIES = "pruning", "latencies.json"
"""In the run's folder: the part that prunes gradually, and in that what was measured."""
GRADUAL = "gradual"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from muon_ad_core.commands.train_painting_options import add_painting_options

    add_painting_options(parser)
    parser.add_argument("--extra-styles", type=Path, help="further pictures that teach the encoder, not shipped")
    parser.add_argument(
        "--palettes",
        type=int,
        default=0,
        metavar="COUNT",
        help="further styles of each picture that is not shipped, its colours in another order, 0..5 (default 0)",
    )
    parser.add_argument(
        "--parts", action="store_true", help="parts of the style pictures are further styles, which are not shipped"
    )
    parser.add_argument(
        "--shipped-share",
        type=float,
        default=0.7,
        metavar="SHARE",
        help="how often a step's style is one that ships, where there are others (default %(default)s)",
    )
    parser.add_argument("--validation", type=Path, help="photographs for contact sheets and the INT8 check")
    parser.add_argument("--sheet-every", type=int, default=1000, help="steps between sheets (default %(default)s)")
    parser.add_argument("--output", type=Path, help="engine package to write at the end (default: RUN/engine)")
    parser.add_argument(
        "--start", metavar="PACKAGE", help="engine package (folder or name) whose weights to start from"
    )
    parser.add_argument(
        "--start-level", metavar="LEVEL", help="level of --start whose student is trained, where one is pruned"
    )
    parser.add_argument(
        "--codes",
        metavar="PACKAGE",
        help="engine package whose encoder and codes take the place of those of --start, and stay as they are",
    )
    parser.add_argument(
        "--frozen-codes", action="store_true", help="train neither encoder nor codes: styles stay those of --start"
    )
    parser.add_argument(
        "--frozen-student",
        action="store_true",
        help="train the encoder alone, for pictures that are no styles yet: what --start paints in its styles stays",
    )
    parser.add_argument(
        "--exits",
        nargs="+",
        choices=("fast", "fine"),
        default=("fast", "fine"),
        help="exits of the network that are trained, where others take the place of one (default: both)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="of a frame's size, at which the level that is trained paints, up to 1 (default 1); as in engine merge",
    )
    parser.add_argument(
        "--local-contrast",
        type=float,
        metavar="SHARE",
        help="of the frame's, that is added to what is painted, 0..1 (default 0.6), as the engine will",
    )
    parser.add_argument(
        "--code",
        type=int,
        metavar="LENGTH",
        help="numbers of a style code (default 64, or the start package's); more of them leave room to refine styles",
    )
    parser.add_argument("--width", type=int, help="channels of the body of a new student (default 128)")
    parser.add_argument(
        "--prune",
        type=float,
        metavar="RATE",
        help="share of the start package's work to remove, 0..1: first part of the run; the rest trains what is left",
    )
    parser.add_argument(
        "--prune-method",
        default=GRADUAL,
        metavar="METHOD",
        help="gradual (measured time says where, importance from the training's gradients what; default), or at once: "
        "magnitude, random, layerdrop (whole blocks)",
    )
    parser.add_argument("--version", default="0.1.0", help="version written to the package (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    from muon_ad_core.commands.train_loop import prepare_processor, train_with_progress
    from muon_ad_core.distill.student_package import write_student_package
    from muon_ad_core.distill.validation_sheet import SheetWriter

    prepare_processor(args.threads)
    package = _start_package(args)
    recipe = _recipe(args, package)
    args.run_folder.mkdir(parents=True, exist_ok=True)
    trainer = _trainer(args, recipe, package)
    sheets = SheetWriter(trainer, args.validation, args.run_folder, args.sheet_every) if args.validation else None
    train_with_progress(trainer, args.run_folder, sheets)
    output = args.output or args.run_folder / "engine"
    write_student_package(
        trainer, output, args.version, args.validation, _pruning(args, package), _start(args, package)
    )
    print(f"engine package: {output}")
    return 0


def _start(args: argparse.Namespace, package: EnginePackage | None) -> dict[str, Any]:
    """What the run began from, for the manifest."""
    from muon_ad_core.commands.train_loop import CHECKPOINT
    from muon_ad_core.distill.student_trainer import checkpoint_state
    from muon_ad_core.engine.package import EnginePackage, find_engine

    if package is None:
        return {}
    found: dict[str, Any] = {"start": f"{package.name}-{package.version}"}
    if args.start_level:
        found["start_level"] = args.start_level
    if args.prune is not None:
        found |= {"prune": f"{args.prune:g}", "prune_method": args.prune_method}
        if args.prune_method == GRADUAL:
            found["pruning_steps"] = checkpoint_state(args.run_folder / PRUNING / CHECKPOINT)[1]
    if args.codes:
        codes = EnginePackage.load(find_engine(args.codes))
        found["codes"] = f"{codes.name}-{codes.version}"
    return found


def _pruning(args: argparse.Namespace, package: EnginePackage | None) -> dict[str, Any] | None:
    """What was removed from the student, in this run or before it, for the manifest."""
    if package is None:
        return None
    if args.prune:
        return {"method": args.prune_method, "rate": args.prune, "start": f"{package.name} {package.version}"}
    of_level = {entry["name"]: entry.get("pruning") for entry in package.manifest["levels"]}
    return of_level[args.start_level] if args.start_level else package.manifest.get("pruning")


def _start_package(args: argparse.Namespace) -> EnginePackage | None:
    from muon_ad_core.distill.gradual_pruning import check_pruning
    from muon_ad_core.engine.package import EnginePackage, find_engine

    if args.prune is not None:
        check_pruning(args.prune, args.prune_method)
    if args.start:
        if args.width:
            raise UserError("a start package has its width: leave out --width, or prune it.")
        return EnginePackage.load(find_engine(args.start))
    if args.prune is not None or args.frozen_codes or args.frozen_student or args.start_level or args.codes:
        raise UserError("say which trained student to start from: --start PACKAGE.")
    return None


def _recipe(args: argparse.Namespace, package: EnginePackage | None) -> StudentTraining:
    from muon_ad_core.commands.train_painting_options import painting_recipe
    from muon_ad_core.distill.pictures import list_styles
    from muon_ad_core.distill.student_trainer import StudentTraining

    if not 0 <= args.shipped_share <= 1:
        raise UserError(f"--shipped-share must be from 0 to 1, not {args.shipped_share:g}.")
    names = args.ship
    if names is None and package is not None:
        names = [style["name"] for style in package.manifest["styles"]]
    if names is None:
        names = [style.name for style in list_styles(args.styles)]
    # Pruned levels share the codes of the whole one.
    frozen = args.frozen_codes or args.prune is not None or args.codes is not None
    return StudentTraining(
        styles=args.styles,
        extra_styles=args.extra_styles,
        shipped=names,
        frozen_codes=frozen,
        frozen_student=args.frozen_student,
        palettes=args.palettes,
        parts=args.parts,
        shipped_share=args.shipped_share,
        levels=tuple(args.exits),
        scale=args.scale,
        finish=_finish(args.local_contrast),
        leak=0.0 if package else StudentTraining.leak,  # what was trained runs without
        standardised=package is None,
        **painting_recipe(args),
    )


def _finish(local_contrast: float | None) -> Finish:
    from dataclasses import replace

    from muon_ad_core.engine.finishing import USUAL

    if local_contrast is None:
        return USUAL
    if not 0 <= local_contrast <= 1:
        raise UserError(f"--local-contrast must be from 0 to 1, not {local_contrast:g}.")
    return replace(USUAL, local_contrast=local_contrast)


def _trainer(args: argparse.Namespace, recipe: StudentTraining, package: EnginePackage | None) -> StudentTrainer:
    """The run that args tell of: new, from a package's weights, from what pruning left of them, or resumed."""
    from dataclasses import replace

    from muon_ad_core.commands.train_loop import CHECKPOINT
    from muon_ad_core.distill.gradual_pruning import GRADUAL_SHARE
    from muon_ad_core.distill.student_trainer import StudentTrainer, checkpoint_state
    from muon_ad_core.nets.student import StudentConfig

    gradual = args.prune is not None and args.prune_method == GRADUAL
    rest = recipe.part(1 - GRADUAL_SHARE) if gradual else recipe
    checkpoint = args.run_folder / CHECKPOINT
    if checkpoint.is_file():
        trainer = StudentTrainer(replace(rest, network=checkpoint_state(checkpoint)[0]))
        trainer.load(checkpoint)
        return trainer
    if package is None:
        config = StudentConfig(width=args.width or StudentConfig.width, code=args.code or StudentConfig.code)
        return StudentTrainer(replace(rest, network=config))
    model, shipped = _start_model(args, package)
    if gradual:
        first = replace(recipe.part(GRADUAL_SHARE), network=model.student.config)
        model = _prune_gradually(args, first, model, shipped)
        shipped = recipe.shipped
    elif args.prune is not None:
        from muon_ad_core.distill.student_pruning import prune_at_once

        model = prune_at_once(model, args.prune, args.prune_method, args.seed)
    trainer = StudentTrainer(replace(rest, network=model.student.config))
    trainer.start_from(model, shipped)
    return trainer


def _start_model(args: argparse.Namespace, package: EnginePackage) -> tuple[StyledStudent, list[str]]:
    """The student of the start package, with longer codes or those of another package when these are asked for; and
    the names of the styles that it has codes of.
    """
    from muon_ad_core.distill.longer_code import with_longer_code
    from muon_ad_core.distill.shared_codes import with_codes_of
    from muon_ad_core.distill.student_package import load_student
    from muon_ad_core.engine.package import EnginePackage, find_engine

    model = load_student(package, args.start_level)
    model = with_longer_code(model, args.code or model.student.config.code)
    if args.codes is not None:
        package = EnginePackage.load(find_engine(args.codes))
        model = with_codes_of(model, load_student(package))
    return model, [style["name"] for style in package.manifest["styles"]]


def _prune_gradually(
    args: argparse.Namespace, recipe: StudentTraining, model: StyledStudent, shipped: list[str]
) -> StyledStudent:
    """What is left of a student after a run that silences more and more of its channels."""
    from muon_ad_core.commands.train_loop import resume_if_interrupted, train_with_progress
    from muon_ad_core.distill.student_latency import MeasuredLatency
    from muon_ad_core.distill.student_pruning import StudentGradualPruning
    from muon_ad_core.distill.student_trainer import StudentTrainer

    trainer = StudentTrainer(recipe)
    trainer.start_from(model, shipped)
    folder = args.run_folder / PRUNING
    pruning = StudentGradualPruning(trainer, args.prune, MeasuredLatency(folder / LATENCIES, args.threads))
    resume_if_interrupted(trainer, folder, pruning)
    train_with_progress(trainer, folder, pruning)
    return pruning.finish()
