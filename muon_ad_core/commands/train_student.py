# SPDX-License-Identifier: Apache-2.0
"""Train the student and its style encoder on a folder of photographs and a folder of style pictures.

Runs on any pictures (COCO and WikiArt folders, too); an index.csv beside the styles (file, artist, work) tells
their origin. The run folder keeps a checkpoint: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--styles", type=Path, required=True, help="folder of style pictures")
    parser.add_argument("--extra-styles", type=Path, help="further pictures that teach the encoder, not shipped")
    parser.add_argument(
        "--ship", nargs="+", metavar="NAME", help="styles to ship (file names without suffix; default: all)"
    )
    parser.add_argument(
        "--features", type=Path, required=True, help="SqueezeNet 1.1 weights (safetensors, torchvision names)"
    )
    parser.add_argument("--validation", type=Path, help="photographs for contact sheets and the INT8 check")
    parser.add_argument(
        "--run", type=Path, required=True, dest="run_folder", help="folder of checkpoint, log and sheets"
    )
    parser.add_argument("--output", type=Path, help="engine package to write at the end (default: RUN/engine)")
    parser.add_argument("--data-note", default="", help="origin and licences of the pictures, for the model card")
    parser.add_argument("--steps", type=int, default=20_000, help="optimiser steps (default %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="photographs a step (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="0.1.0", help="version written to the package (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from muon_ad_core.distill.pictures import list_styles
    from muon_ad_core.distill.student_package import write_student_package
    from muon_ad_core.distill.student_trainer import StudentTrainer, StudentTraining

    trainer = StudentTrainer(
        StudentTraining(
            photos=args.photos, styles=args.styles, extra_styles=args.extra_styles, features=args.features,
            run=args.run_folder, validation=args.validation, data_note=args.data_note, steps=args.steps,
            batch=args.batch, threads=args.threads, seed=args.seed,
            shipped=args.ship or [style.name for style in list_styles(args.styles)],
        )
    )  # fmt: skip
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns) as progress:
        task = progress.add_task("", total=args.steps, completed=trainer.step)

        def report(step: int, losses: dict[str, float]) -> None:
            text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            progress.update(task, completed=step, description=text)

        trainer.train(report)
    output = args.output or args.run_folder / "engine"
    write_student_package(trainer, output, args.version)
    print(f"engine package: {output}")
    return 0
