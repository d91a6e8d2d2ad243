# SPDX-License-Identifier: Apache-2.0
"""Train Johnson networks (Johnson et al., 2016), one for each style, by the student's recipe, to compare with.

The result is a folder of ONNX graphs, float and INT8, for `muon-ad bench quality --johnson` and `bench engine
--johnson-graphs`. The length is that of each style. The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from muon_ad_core.commands.train_painting_options import add_painting_options

    add_painting_options(parser)
    parser.add_argument(
        "--finished",
        action="store_true",
        help="train through what is done to a student's pictures before they are shown (palette, softening, detail and "
        "contrast of the photograph), and have muon-ad bench quality do the same to these",
    )
    parser.add_argument("--output", type=Path, help="folder of the graphs (default: RUN/graphs)")


def run(args: argparse.Namespace) -> int:
    from muon_ad_core.commands.train_loop import prepare_processor, resume_if_interrupted, train_with_progress
    from muon_ad_core.commands.train_painting_options import painting_recipe
    from muon_ad_core.distill.johnson_trainer import JohnsonTrainer
    from muon_ad_core.distill.painting_trainer import PaintingTraining
    from muon_ad_core.distill.pictures import chosen_styles
    from muon_ad_core.engine.finishing import USUAL
    from muon_ad_core.palette import USUAL_SHARE

    prepare_processor(args.threads)
    recipe = PaintingTraining(**painting_recipe(args))
    if args.finished:
        recipe = replace(recipe, palette_share=USUAL_SHARE, finish=USUAL)
    target = args.output or args.run_folder / "graphs"
    target.mkdir(parents=True, exist_ok=True)
    for style in chosen_styles(args.styles, args.ship):
        if (target / f"{style.name}.json").is_file():
            print(f"{style.name}: done before")
            continue
        trainer = JohnsonTrainer(recipe, style)
        run_folder = args.run_folder / style.name
        resume_if_interrupted(trainer, run_folder)
        train_with_progress(trainer, run_folder)
        trainer.export(target)
        print(f"{style.name}: {trainer.step} steps")
    print(f"graphs: {target}")
    return 0
