# SPDX-License-Identifier: Apache-2.0
"""Wrap a detector of another project, an ONNX or ncnn file, into an engine package that nodes and benchmarks take.

  muon-ad engine import detector yolox_nano.onnx --decoder yolox --classes coco -o my_detector
  muon-ad up joint_task --set detector.engine=my_detector

docs/detectors.md tells the settings of each decoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    from muon_ad_core.engine.package import EnginePackage

SECTIONS = ("preprocessing", "decoding")
PHOTOGRAPH = "astronaut.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad engine import``."""
    parser.add_argument("task", choices=("detector",), help="what the network does")
    parser.add_argument("file", type=Path, help="ONNX graph, or ncnn's .param")
    parser.add_argument("--weights", type=Path, help="ncnn's .bin (default: beside the .param, under its name)")
    parser.add_argument("--decoder", required=True, help="yolox, nanodet, nanodet-plus, fastestdet or yolo-fastestv2")
    parser.add_argument("--classes", required=True, help="coco, or a text file with one class a line")
    parser.add_argument(
        "--size", help="input in pixels, 416 or 320x416 (rows x columns), where the file leaves it open"
    )
    help_set = "a setting other than the family's, such as preprocessing.channels=RGB or strides=[8,16,32]"
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", dest="settings", help=help_set)
    parser.add_argument("--licence", default="not stated", help="of the network, for the manifest")
    parser.add_argument("--version", default="1", help="of the package (default: 1)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the package")


def run(args: argparse.Namespace) -> int:
    """Write the package and tell what it finds in a photograph; returns 0."""
    from muon_ad_core.detect.foreign import ForeignDetector, write_foreign_package
    from muon_ad_core.distill.coco_classes import COCO_CLASSES, read_classes

    settings = read_settings(args.settings)
    foreign = ForeignDetector(
        args.file, args.decoder, COCO_CLASSES if args.classes == "coco" else read_classes(Path(args.classes)),
        weights=args.weights, size=read_size(args.size) if args.size else None, licence=args.licence,
        version=args.version, **settings,
    )  # fmt: skip
    package = write_foreign_package(foreign, args.output)
    print(f"{args.output}: {', '.join(package.manifest['files'])}, decoder {package.manifest['decoder']}")
    print(f"In a photograph of an astronaut it finds: {_try(package)}")
    print(f"Try it: muon-ad up joint_task --set detector.engine={args.output.resolve()}")
    return 0


def read_size(text: str) -> tuple[int, int]:
    """(rows, columns) of "416" or "320x416"; raises ParameterError for anything else."""
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ParameterError(f"--size must be like 416 or 320x416, not '{text}'")
    return int(parts[0]), int(parts[-1])


def read_settings(texts: list[str]) -> dict[str, Any]:
    """ "preprocessing", "decoding" and "strides" of SETTING=VALUE texts; raises ParameterError for other ones."""
    import yaml

    settings: dict[str, Any] = {section: {} for section in SECTIONS}
    for text in texts:
        name, _, value = text.partition("=")
        section, _, key = name.partition(".")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ParameterError(f"--set {text}: the value cannot be read") from None
        if name == "strides" and isinstance(parsed, list):
            settings["strides"] = parsed
        elif section in SECTIONS and key:
            settings[section][key] = parsed
        else:
            raise ParameterError(
                f"--set {text}: use preprocessing.NAME=VALUE, decoding.NAME=VALUE or strides=[8,16,32]"
            )
    return settings


def _try(package: EnginePackage) -> str:
    """A user sees at once whether channels, scaling and classes are right."""
    from muon_ad_core.detect.detector import Detector
    from muon_ad_core.sources.photographs import load_photograph

    detector = Detector(package)
    found = detector.run(load_photograph(PHOTOGRAPH))
    names = (f"{detector.classes[label]} {100 * score:.0f} %" for _, score, label in found)
    return ", ".join(names) or "nothing (expected where no class is a person; else check channels, mean and deviation)"
