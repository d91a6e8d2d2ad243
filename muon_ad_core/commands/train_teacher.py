# SPDX-License-Identifier: Apache-2.0
"""Train the micro teacher, whose attentions `muon-ad synthesize` looks into, on folders of pictures.

No labels are needed; photographs and paintings in about equal parts serve best, so give them as folders of their own:
folders are drawn from equally often. The run folder keeps a checkpoint: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser, batch=8, size=256, learning_rate=2e-3)
    parser.add_argument("--start-size", type=int, default=128, help="side at the start (default %(default)s)")


def add_run_options(parser: argparse.ArgumentParser, batch: int, size: int, learning_rate: float) -> None:
    """Options of a training that writes a teacher package, with some of their defaults."""
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="FOLDER", help="folders of pictures")
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", help="folder of checkpoint and log")
    parser.add_argument("-o", "--output", type=Path, help="teacher package to write at the end (default: RUN/teacher)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=0, help="length of the training in updates")
    length.add_argument("--minutes", type=float, default=0.0, help="length of the training in time")
    parser.add_argument("--batch", type=int, default=batch, help="crops of full size an update (default %(default)s)")
    parser.add_argument("--size", type=int, default=size, help="side of the crops at the end (default %(default)s)")
    parser.add_argument(
        "--learning-rate", type=float, default=learning_rate, help="peak learning rate (default %(default)s)"
    )
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16, for CPUs with AMX or AVX512-BF16")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="0.1.0", help="version written to the package (default %(default)s)")
    parser.add_argument("--note", default="", help="what the model card tells about the pictures' origin and licence")


def run(args: argparse.Namespace) -> int:
    from muon_ad_core.commands.train_loop import prepare_processor, resume_if_interrupted, train_with_progress
    from muon_ad_core.distill.teacher_package import write_teacher_package
    from muon_ad_core.distill.teacher_trainer import TeacherTrainer, TeacherTraining

    if not args.steps and not args.minutes:
        raise UserError("say how long to train: --steps or --minutes.")
    prepare_processor(args.threads)
    recipe = TeacherTraining(
        steps=args.steps, minutes=args.minutes, batch=args.batch, size=args.size, start_size=args.start_size,
        learning_rate=args.learning_rate, seed=args.seed, bfloat16=args.bfloat16,
    )  # fmt: skip
    trainer = TeacherTrainer(args.images, recipe)
    resume_if_interrupted(trainer, args.run_folder)
    losses = train_with_progress(trainer, args.run_folder)
    target = args.output or args.run_folder / "teacher"
    write_teacher_package(trainer, target, args.version, args.note, losses.get("error", float("nan")))
    print(f"teacher package: {target}")
    return 0
