# SPDX-License-Identifier: Apache-2.0
"""Detectors of other projects as engine packages: a known family's settings, the file, and a manifest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from muon_ad_core.detect.detector import Detector
from muon_ad_core.detect.network_input import FOCUS, PLANES
from muon_ad_core.engine.package import EnginePackage, write_package
from muon_ad_core.engine.runtime import NCNN_SUFFIX, open_graph
from muon_ad_core.errors import EngineError, ParameterError

IMAGENET_BGR = {"mean": [103.53, 116.28, 123.675], "deviation": [57.375, 57.12, 58.395]}
NANODET_INPUT = {"fit": "letterbox", "cut": True, "align": "centre", "channels": "BGR", **IMAGENET_BGR}
STRETCHED_BGR = {"fit": "stretch", "channels": "BGR", "mean": [0, 0, 0], "deviation": [255, 255, 255]}
TEST_PICTURE = (120, 160)
AS_IMPORTED = "as imported"
"""Precision of a level whose graph came from elsewhere."""


@dataclass(frozen=True)
class Family:
    """What the networks of one project have in common, as their authors publish them.

    Attributes:
        decoder: a name of `decoders.DECODERS`.
        size: side of the square input, where the file does not fix it.
        strides: pixels between locations.
        preprocessing, decoding: entries of the manifest; names of inputs and outputs come from the file.
        outputs: the setting that takes the names of the graph's outputs.
    """

    decoder: str
    size: int
    strides: Sequence[int]
    preprocessing: Mapping[str, Any]
    decoding: Mapping[str, Any] = field(default_factory=dict)
    outputs: str = "output"


NANODET = Family("nanodet", 320, (8, 16, 32), NANODET_INPUT, {"scores": "probabilities"}, "outputs")
FAMILIES = {
    # Tall pictures leave the right side empty, wide ones the bottom; since release 0.1.1 pixels are not normalised.
    "yolox": Family("yolox", 416, (8, 16, 32), {"fit": "letterbox", "padding": 114, "channels": "BGR"}),
    "nanodet": NANODET,
    "nanodet-plus": Family(
        "nanodet", 416, (8, 16, 32, 64), NANODET_INPUT, {**NANODET.decoding, "cell_offset": 0}, "outputs"
    ),
    "fastestdet": Family("fastestdet", 352, (16,), STRETCHED_BGR),
    "yolo-fastestv2": Family(
        "yolo_fastestv2",
        352,
        (16, 32),
        STRETCHED_BGR,
        {"anchors": [12.64, 19.39, 37.88, 51.48, 55.71, 138.31, 126.91, 78.23, 131.57, 214.55, 279.92, 258.87]},
        "outputs",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ForeignDetector:
    """A file and what is to be said of it.

    Attributes:
        file: an ONNX graph, or ncnn's .param; weights: of the latter, by default the .bin of its name.
        family: a name of FAMILIES.
        classes: their names, in the network's order.
        size: (rows, columns) of the input where the file does not fix them; None: as usual in the family.
        preprocessing, decoding, strides: what differs from the family's.
        licence, description, version: for the manifest.
    """

    file: Path
    family: str
    classes: Sequence[str]
    weights: Path | None = None
    size: tuple[int, int] | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    decoding: Mapping[str, Any] = field(default_factory=dict)
    strides: Sequence[int] = ()
    licence: str = "not stated"
    description: str = ""
    version: str = "1"


def write_foreign_package(foreign: ForeignDetector, target: Path) -> EnginePackage:
    """Write an engine package around a detector's file, and try it on a picture.

    Raises ParameterError for an unknown family or a target that is in use, and EngineError when the file cannot be
    read or its outputs are not what the settings say; nothing is left behind then.
    """
    if foreign.family not in FAMILIES:
        raise ParameterError(f"unknown decoder '{foreign.family}': choose one of {', '.join(FAMILIES)}")
    if not foreign.file.is_file():
        raise ParameterError(f"there is no file {foreign.file}: name an ONNX graph or ncnn's .param")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ParameterError(f"{target} is in use: name a folder that is empty or not there yet")
    target.mkdir(parents=True, exist_ok=True)
    try:
        files = _copy_files(foreign, target)
        write_package(target, _manifest(foreign, target, files[0]), files)
        package = EnginePackage.load(target)
        Detector(package, threads=1).warm_up(*TEST_PICTURE)
    except BaseException:
        shutil.rmtree(target)
        raise
    return package


def _copy_files(foreign: ForeignDetector, target: Path) -> list[str]:
    """Copy the graph, and the weights that belong to it, as detector.*; their names, the graph's first."""
    graph = f"detector{foreign.file.suffix}"
    shutil.copyfile(foreign.file, target / graph)
    if foreign.file.suffix != NCNN_SUFFIX:
        return [graph]
    weights = foreign.weights or foreign.file.with_suffix(".bin")
    if not weights.is_file():
        raise ParameterError(f"there is no file {weights}: name the weights that belong to {foreign.file.name}")
    shutil.copyfile(weights, target / "detector.bin")
    return [graph, "detector.bin"]


def _manifest(foreign: ForeignDetector, target: Path, graph: str) -> dict[str, Any]:
    family = FAMILIES[foreign.family]
    preprocessing = {"layout": PLANES, "cut": False, **family.preprocessing, **foreign.preprocessing}
    name, size, outputs, fixed = _look_at_graph(foreign, target / graph, preprocessing["layout"])
    if fixed:
        preprocessing["cut"] = False
    names = outputs if family.outputs == "outputs" else outputs[0]
    strides = list(foreign.strides or family.strides)
    return {
        "name": re.sub(r"\W+", "_", target.resolve().name),
        "version": foreign.version,
        "task": "detection",
        "description": foreign.description or f"{foreign.file.name}, a detector of the {foreign.family} family.",
        "licence": foreign.licence,
        "levels": [
            {"name": "imported", "graph": graph, "precision": AS_IMPORTED, "width": 0, "parameters": 0, "macs": 0}
        ],
        "decoder": family.decoder,
        "decoding": {family.outputs: names, **family.decoding, **foreign.decoding},
        "preprocessing": {"input": name, **preprocessing},
        "classes": list(foreign.classes),
        "input_size": list(size),
        "strides": strides,
    }


def _look_at_graph(foreign: ForeignDetector, graph: Path, layout: str) -> tuple[str, tuple[int, int], list[str], bool]:
    """The input's name, its size in pixels, the outputs' names in the order that decoders take, and whether the file
    fixes the size."""
    opened = open_graph(graph, threads=1)
    if len(opened.input_shapes) != 1:
        names = ", ".join(opened.input_shapes)
        raise EngineError(f"{foreign.file} has the inputs {names}: a detector with one input is needed")
    [(name, shape)] = opened.input_shapes.items()
    channels, block = (12, 2) if layout == FOCUS else (3, 1)
    if shape and (len(shape) != 4 or shape[0] > 1 or shape[1] not in (0, channels)):
        raise EngineError(
            f"{foreign.file} takes inputs of the shape {shape}: one picture of {channels} planes is needed "
            "(export it with a batch of one)"
        )
    usual = FAMILIES[foreign.family].size
    size = foreign.size or (usual, usual)
    fixed = (shape[2] * block, shape[3] * block) if shape else (0, 0)
    if foreign.size and any(side and side != asked for side, asked in zip(fixed, foreign.size)):
        raise ParameterError(f"{foreign.file} takes inputs of {fixed[0]}x{fixed[1]} pixels only: leave out the size")
    size = fixed[0] or size[0], fixed[1] or size[1]
    blank = np.zeros((1, channels, size[0] // block, size[1] // block), np.float32)
    return name, size, sorted(opened.run({name: blank}), key=_stride_order), any(fixed)


def _stride_order(output: str) -> tuple[int, int, str]:
    """Order of several outputs: by the number at the name's end (a stride), class scores before distances."""
    number = re.search(r"(\d+)$", output)
    return int(number[1]) if number else 0, 0 if "cls" in output else 1, output
