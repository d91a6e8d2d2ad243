# SPDX-License-Identifier: Apache-2.0
"""Train a network of the project; the result is a package that the other commands and nodes load by name.

Needs PyTorch: pip install -r requirements/train.txt
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util

from muon_ad_core.errors import UserError

# Network -> (module with add_arguments and run, one line of help).
NETWORKS = {
    "student": (
        "muon_ad_core.commands.train_student",
        "the student that paints frames, and its style encoder",
    ),
    "johnson": ("muon_ad_core.commands.train_johnson", "a Johnson network for each style, to compare the student with"),
    "teacher": ("muon_ad_core.commands.train_teacher", "the micro teacher of muon-ad synthesize"),
    "perception": ("muon_ad_core.commands.train_perception", "what the micro teacher sees beside its attentions"),
    "detector": ("muon_ad_core.commands.train_detector", "the object detector"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    networks = parser.add_subparsers(dest="network", required=True, metavar="network")
    for name, (module, text) in NETWORKS.items():
        command = importlib.import_module(module)
        network = networks.add_parser(name, help=text, description=command.__doc__)
        command.add_arguments(network)
        network.set_defaults(run_training=command.run)


def run(args: argparse.Namespace) -> int:
    for module in ("torch", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"training needs {module}, which is not installed: pip install -r requirements/train.txt")
    return int(args.run_training(args))
