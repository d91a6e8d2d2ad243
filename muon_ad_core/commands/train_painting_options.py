# SPDX-License-Identifier: Apache-2.0
"""Options of trainings of networks that paint, `muon-ad train student` and `johnson`: one recipe for both."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from muon_ad_core.engine.model_card import WEIGHTS
from muon_ad_core.errors import UserError


def add_painting_options(parser: argparse.ArgumentParser) -> None:
    """Data, length, losses and optimiser."""
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--styles", type=Path, required=True, help="folder of style pictures")
    parser.add_argument(
        "--ship", nargs="+", metavar="NAME", help="styles to train for (file names without suffix; default: all)"
    )
    parser.add_argument(
        "--features", type=Path, required=True, help="SqueezeNet 1.1 weights (safetensors, torchvision names)"
    )
    parser.add_argument("--run", type=Path, required=True, dest="run_folder", help="folder of checkpoint and log")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, default=0, help="length of the training in optimiser steps")
    length.add_argument("--minutes", type=float, default=0.0, help="length of the training in time")
    parser.add_argument("--batch", type=int, default=2, help="photographs a step (default %(default)s)")
    parser.add_argument("--crop", type=int, default=192, help="side of the views in pixels (default %(default)s)")
    parser.add_argument(
        "--max-shift", type=int, default=48, help="most pixels between the two views of a photograph (default 48)"
    )
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--learning-rate", type=float, help="of Muon, AdamW beside it takes half; or of AdamW alone")
    parser.add_argument(
        "--matrix-decay", type=float, help="weight decay of what Muon trains (default 4; to train on slowly, 1)"
    )
    losses = parser.add_argument_group("losses", "factors; 0 leaves one out")
    losses.add_argument(
        "--style-weight", type=float, help="distribution and strength of features, at two sizes (default 20)"
    )
    losses.add_argument("--content-weight", type=float, help="normalised features (default 8)")
    losses.add_argument("--tone-weight", type=float, help="light and dark of the picture (default 2)")
    losses.add_argument("--lattice-weight", type=float, help="against what repeats in 8x8 cells (default 700)")
    losses.add_argument("--mesh-weight", type=float, help="against a regular mesh of any period (default 8)")
    losses.add_argument("--border-weight", type=float, help="against lines along the border (default 1500)")
    losses.add_argument("--steady-weight", type=float, help="against flicker when the camera moves (default 12)")
    losses.add_argument("--variation-weight", type=float, help="total variation (default 0.02)")
    losses.add_argument("--attention-weight", type=float, help="attention distillation from --teacher (default 0)")
    losses.add_argument("--teacher", default="teacher", help="as for muon-ad synthesize (default: the built-in one)")
    losses.add_argument(
        "--projection", action="store_true", help="project the style's gradient where it conflicts with the picture's"
    )
    losses.add_argument(
        "--curriculum",
        action="store_true",
        help="the paper's three phases: style weight, gradient balance, learning rate",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-note", default="", help="origin and licences of the pictures, for the model card")


def painting_recipe(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `PaintingTraining`; raises UserError when the length is not said."""
    from muon_ad_core.distill.painting_losses import LossWeights

    if not args.steps and not args.minutes:
        raise UserError("say how long to train: --steps or --minutes.")
    given = {name: getattr(args, f"{name}_weight") for name in WEIGHTS}
    rates = {}
    if args.learning_rate is not None:
        rates = {"adamw_lr": args.learning_rate}
        if args.optimizer == "muon":
            rates = {"lr": args.learning_rate, "adamw_lr": args.learning_rate / 2}
    if args.matrix_decay is not None:
        rates["matrix_decay"] = args.matrix_decay
    return {
        "photos": args.photos, "features": args.features, "steps": args.steps, "minutes": args.minutes,
        "batch": args.batch, "crop": args.crop, "max_shift": args.max_shift, "optimizer": args.optimizer,
        "projection": args.projection, "curriculum": args.curriculum,
        "teacher": args.teacher, "seed": args.seed, "data_note": args.data_note, **rates,
        "weights": LossWeights(**{name: value for name, value in given.items() if value is not None}),
    }  # fmt: skip
