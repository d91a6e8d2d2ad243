# SPDX-License-Identifier: Apache-2.0
"""Train the perception of a micro teacher: features like SqueezeNet 1.1's, whose distribution tells style.

`muon-ad synthesize` draws pictures to the style's distribution of them. The package that is written has the attentions
of --teacher and the new perception. The run folder keeps a checkpoint: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="FOLDER", help="folders of pictures")
    parser.add_argument(
        "--features", type=Path, required=True, help="SqueezeNet 1.1 weights (safetensors, torchvision names)"
    )
    parser.add_argument(
        "--teacher", default="teacher", metavar="PACKAGE", help="whose attentions are kept (default: the built-in one)"
    )
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", help="folder of checkpoint and log")
    parser.add_argument("-o", "--output", type=Path, help="teacher package to write at the end (default: RUN/teacher)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=0, help="length of the training in updates")
    length.add_argument("--minutes", type=float, default=0.0, help="length of the training in time")
    parser.add_argument("--batch", type=int, default=8, help="crops an update (default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the crops (default %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="peak learning rate (default %(default)s)")
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16, for CPUs with AMX or AVX512-BF16")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", default="0.1.0", help="version written to the package (default %(default)s)")
    parser.add_argument("--note", default="", help="what the model card tells about the pictures' origin and licence")


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
    losses = train_with_progress(trainer, args.run_folder)
    target = args.output or args.run_folder / "teacher"
    add_perception(trainer, teacher, target, args.version, args.note, losses)
    print(f"teacher package: {target}")
    return 0
