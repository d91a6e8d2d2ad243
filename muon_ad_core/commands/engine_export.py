# SPDX-License-Identifier: Apache-2.0
"""Write the graphs of a student anew from its weights, in the form this release exports; nothing is trained.

Styles, encoder and weights stay as they are. Needs PyTorch: pip install -r requirements/train.txt
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from muon_ad_core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad engine export``."""
    parser.add_argument("engine", help="folder or name of a student's package")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs that set the ranges of INT8")
    parser.add_argument(
        "--fidelity",
        type=float,
        metavar="SSIM",
        help="keep the layers that INT8 harms most in floating point, until pictures are so like the float network's, "
        "0..1 (default: all layers are INT8)",
    )
    parser.add_argument("-o", "--output", type=Path, help="folder of the result (default: the package itself)")


def run(args: argparse.Namespace) -> int:
    """Export; returns 0."""
    for module in ("torch", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"exporting needs {module}, which is not installed: pip install -r requirements/train.txt")
    from muon_ad_core.distill.student_package import export_again
    from muon_ad_core.engine.package import EnginePackage, find_engine

    if args.fidelity is not None and not 0 <= args.fidelity <= 1:
        raise UserError(f"--fidelity is a similarity from 0 to 1, not {args.fidelity:g}")
    package = EnginePackage.load(find_engine(args.engine))
    target = args.output or package.root
    metrics = export_again(package, args.photos, target, fidelity=args.fidelity)
    print(f"{target}: {', '.join(f'{name} {value}' for name, value in metrics.items())}")
    return 0
