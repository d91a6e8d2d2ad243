# SPDX-License-Identifier: Apache-2.0
"""Train the perception of a micro teacher: features like SqueezeNet 1.1's, whose distribution tells style.

`muon-ad synthesize` draws pictures to the style's distribution of them. The package that is written has the attentions
of --teacher and the new perception. The run folder keeps a checkpoint: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.commands.train_teacher import add_run_options
from muon_ad_core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser, batch=8, size=128, learning_rate=3e-3)
    parser.add_argument(
        "--features", type=Path, required=True, help="SqueezeNet 1.1 weights (safetensors, torchvision names)"
    )
    parser.add_argument(
        "--teacher", default="teacher", metavar="PACKAGE", help="whose attentions are kept (default: the built-in one)"
    )


def run(args: argparse.Namespace) -> int:
    from muon_ad_core.commands.train_loop import prepare_processor, resume_if_interrupted, train_with_progress
    from muon_ad_core.distill.perception_trainer import PerceptionTrainer, PerceptionTraining
    from muon_ad_core.distill.teacher_package import add_perception
    from muon_ad_core.distill.teachers.micro import read_teacher_package
    from muon_ad_core.engine.package import find_engine

    if not args.steps and not args.minutes:
        raise UserError("say how long to train: --steps or --minutes.")
    teacher = read_teacher_package(find_engine(args.teacher))
    prepare_processor(args.threads)
    recipe = PerceptionTraining(
        steps=args.steps, minutes=args.minutes, batch=args.batch, size=args.size, learning_rate=args.learning_rate,
        seed=args.seed, bfloat16=args.bfloat16,
    )  # fmt: skip
    trainer = PerceptionTrainer(args.images, args.features, recipe)
    resume_if_interrupted(trainer, args.run_folder)
    train_with_progress(trainer, args.run_folder)
    target = args.output or args.run_folder / "teacher"
    add_perception(trainer, teacher, target, args.version, args.note)
    print(f"teacher package: {target}")
    return 0
