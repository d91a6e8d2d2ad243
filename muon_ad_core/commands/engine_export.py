# SPDX-License-Identifier: Apache-2.0
"""Write the graphs of a student or a detector anew from its weights, in the form this release exports.

Nothing is trained; styles, encoder, classes and weights stay as they are. Needs PyTorch: pip install -r
requirements/train.txt
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.errors import UserError

if TYPE_CHECKING:
    from muon_ad_core.engine.package import EnginePackage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad engine export``."""
    parser.add_argument("engine", help="folder or name of a package that we trained")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs that set the ranges of INT8")
    parser.add_argument(
        "--fidelity",
        type=float,
        metavar="SSIM",
        help="of a student: keep the layers that INT8 harms most in floating point, until pictures are so like the "
        "float network's, 0..1 (default: all layers are INT8)",
    )
    help_validation = "of a detector: measure its precision on these boxes, for the model card"
    parser.add_argument("--validation", metavar="JSON[=FOLDER]", help=help_validation)
    parser.add_argument("-o", "--output", type=Path, help="folder of the result (default: the package itself)")


def run(args: argparse.Namespace) -> int:
    """Export; returns 0."""
    for module in ("torch", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"exporting needs {module}, which is not installed: pip install -r requirements/train.txt")
    from muon_ad_core.engine.package import EnginePackage, find_engine

    if args.fidelity is not None and not 0 <= args.fidelity <= 1:
        raise UserError(f"--fidelity is a similarity from 0 to 1, not {args.fidelity:g}")
    package = EnginePackage.load(find_engine(args.engine))
    target = args.output or package.root
    if package.task not in EXPORTS:
        raise UserError(f"engine {package.name} is for {package.task}: graphs are of students and detectors alone")
    metrics = EXPORTS[package.task](args, package, target)
    print(f"{target}: {', '.join(f'{name} {value}' for name, value in metrics.items()) or 'not evaluated'}")
    return 0


def _student(args: argparse.Namespace, package: EnginePackage, target: Path) -> dict[str, float]:
    from muon_ad_core.distill.student_package import export_again

    if args.validation:
        raise UserError(f"{package.name} paints: --validation is for detectors, leave it out")
    return export_again(package, args.photos, target, fidelity=args.fidelity)


def _detector(args: argparse.Namespace, package: EnginePackage, target: Path) -> dict[str, float]:
    from muon_ad_core.commands.train_detector import check_validation, measure
    from muon_ad_core.distill.coco_file import file_and_folder
    from muon_ad_core.distill.detector_package import export_detector_again

    if args.fidelity is not None:
        raise UserError(f"{package.name} detects: --fidelity is for students, leave it out")
    if args.validation:
        check_validation(args.validation, tuple(package.manifest["classes"]))

    def metrics(folder: Path) -> dict[str, float]:
        return measure(folder, *file_and_folder(args.validation)) if args.validation else {}

    return export_detector_again(package, args.photos, target, metrics)


EXPORTS = {"style": _student, "detection": _detector}
"""By the package's task."""
