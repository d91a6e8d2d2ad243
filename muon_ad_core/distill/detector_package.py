# SPDX-License-Identifier: Apache-2.0
"""From a trained detector to the engine package that ships: INT8 and float graphs, weights, metrics, model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from muon_ad_core.compress.export import count_macs, export_onnx
from muon_ad_core.compress.quantise import quantise
from muon_ad_core.distill.detector_trainer import DetectorTrainer
from muon_ad_core.distill.pictures import list_pictures, read_picture
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.engine.package import WRITTEN_BY_WRITE_PACKAGE, EnginePackage, write_package
from muon_ad_core.engine.self_check import REFERENCE_FILE, reference_of, reference_picture
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import INPUT_BLOCK, STRIDES, DetectorNet, DetectorShape, PackedDetector

CALIBRATION_PICTURES = 512
DECODER = "muon_ad_dfl"
GRAPHS = {"int8": "detector.onnx", "float": "detector.float.onnx"}
WEIGHTS = "weights.safetensors"
CARD = "README.md"


def export_detector(
    trainer: DetectorTrainer, classes: Sequence[str], target: Path, version: str, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Write graphs and weights of the averaged network into `target`; returns the manifest's fields, metrics empty.

    origin: what the manifest tells about the data ("data": a line for each set, "note", "limits").
    """
    target.mkdir(parents=True, exist_ok=True)
    network, size = trainer.average, trainer.recipe.size
    levels = _write_graphs(network, size, trainer.lesson.photographs(), target)
    save_file({name: _half(value) for name, value in network.state_dict().items()}, target / WEIGHTS)
    return {
        "name": target.name,
        "version": version,
        "task": "detection",
        "description": "Anchor-free one-stage detector, dense 3x3 convolutions, distribution-focal boxes.",
        "licence": "Apache-2.0",
        "levels": levels,
        "decoder": DECODER,
        "classes": list(classes),
        "input_size": [size, size],
        "strides": list(STRIDES),
        "input": {"pixels": f"uint8 RGB [1, H/{INPUT_BLOCK}, W/{INPUT_BLOCK}, {3 * INPUT_BLOCK**2}], packed"},
        "output": {
            "scores": f"class logits [1, L, {network.shape.classes}]",
            "bins": f"distance logits [1, L, 4 x {network.shape.bins}], left top right bottom, in strides",
        },
        "network": network.shape.as_dict(),
        "training": {
            "command": "muon-ad train detector",
            "method": trainer.lesson.description,
            "steps_done": trainer.step,
            "hours": round(trainer.seconds / 3600, 2),
            **asdict(trainer.recipe),
            **origin,
        },
        "metrics": {},
    }


def _write_graphs(
    network: DetectorNet, size: int, pictures: Sequence[np.ndarray], target: Path
) -> list[dict[str, Any]]:
    """Write both graphs and an example of what they compute; returns the manifest's levels."""
    packed = PackedDetector(network)
    side = size // INPUT_BLOCK
    pixels = {"pixels": torch.zeros(1, side, side, 3 * INPUT_BLOCK**2, dtype=torch.uint8)}
    axes = {"pixels": {1: "rows", 2: "columns"}, "scores": {1: "locations"}, "bins": {1: "locations"}}
    float_graph = target / GRAPHS["float"]
    export_onnx(packed, pixels, ["scores", "bins"], float_graph, axes)
    quantise(float_graph, target / GRAPHS["int8"], _calibration_inputs(pictures, size))
    _store_half_weights(float_graph)
    graphs = {name: OnnxRuntimeGraph(target / graph, 1) for name, graph in GRAPHS.items()}
    save_arrays(reference_of(graphs, _packed(reference_picture())), target / REFERENCE_FILE)
    common = {
        "width": network.shape.widths[0],
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": count_macs(packed, pixels),
        "input_block": INPUT_BLOCK,
    }
    return [
        {"name": "int8", "graph": GRAPHS["int8"], "precision": "int8", **common},
        {"name": "float", "graph": GRAPHS["float"], "precision": "float32", **common},
    ]


def export_detector_again(
    package: EnginePackage, photos: Path, target: Path, measure: Callable[[Path], Mapping[str, float]]
) -> dict[str, float]:
    """Write the graphs of a detector anew from its weights, as this release writes them; all else stays as it is.

    photos: folder of some hundred pictures, which set the ranges of INT8; target: folder of the result, which may be
    the package's own; measure: metrics of the finished package in its folder. Returns these. Raises UserError for a
    package without weights, or pictures that cannot be read.
    """
    network = read_network(package).eval()
    files = list_pictures(photos)
    chosen = [files[index] for index in _evenly(len(files))]
    pictures = [picture for picture in map(read_picture, chosen) if picture is not None]
    if not pictures:
        raise UserError(f"none of the pictures in {photos} can be read: check the files")
    target.mkdir(parents=True, exist_ok=True)
    if target.resolve() != package.root.resolve():
        shutil.copyfile(package.path(WEIGHTS), target / WEIGHTS)
    levels = _write_graphs(network, int(package.manifest["input_size"][0]), pictures, target)
    kept = {key: value for key, value in package.manifest.items() if key not in WRITTEN_BY_WRITE_PACKAGE}
    fields = {**kept, "levels": levels}
    finish_package(target, fields, {})
    metrics = dict(measure(target))
    finish_package(target, fields, metrics)
    return metrics


def finish_package(target: Path, fields: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Write model card and manifest with the metrics; the package is complete then."""
    fields = {**fields, "metrics": dict(metrics)}
    (target / CARD).write_text(_model_card(fields), encoding="utf-8")
    write_package(target, fields, [*GRAPHS.values(), REFERENCE_FILE, WEIGHTS, CARD])


def read_network(package: EnginePackage) -> DetectorNet:
    """The network of a detector package, to train on from. Raises UserError where the package has no weights."""
    if "network" not in package.manifest or WEIGHTS not in package.manifest["files"]:
        raise UserError(f"{package.root} holds no weights to train on from: start from a package that has {WEIGHTS}.")
    network = DetectorNet(DetectorShape.from_dict(package.manifest["network"]))
    network.load_state_dict(load_file(package.path(WEIGHTS)))
    return network


def _half(value: torch.Tensor) -> torch.Tensor:
    return (value.half() if value.dtype.is_floating_point else value).contiguous()


def _calibration_inputs(pictures: Sequence[np.ndarray], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Training pictures, evenly taken, scaled to fit as the detector will see frames."""
    for index in _evenly(len(pictures)):
        picture = pictures[index]
        scale = size / max(picture.shape[:2])
        canvas = np.zeros((size, size, 3), np.uint8)
        scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)[:size, :size]
        canvas[: scaled.shape[0], : scaled.shape[1]] = scaled
        yield _packed(canvas)


def _evenly(count: int) -> Iterator[int]:
    """Indices of at most CALIBRATION_PICTURES of so many pictures."""
    return map(int, np.linspace(0, count - 1, min(CALIBRATION_PICTURES, count)))


def _packed(picture: np.ndarray) -> dict[str, np.ndarray]:
    """A graph's input of a square picture."""
    side = len(picture) // INPUT_BLOCK
    cells = picture.reshape(side, INPUT_BLOCK, side, INPUT_BLOCK, 3).transpose(0, 2, 1, 3, 4)
    return {"pixels": np.ascontiguousarray(cells).reshape(1, side, side, -1)}


def _store_half_weights(graph: Path) -> None:
    """Halve a float graph's file: convolution weights as float16, with a cast behind each that runtimes fold."""
    model = onnx.load(str(graph))
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 4:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(graph))


def _model_card(fields: Mapping[str, Any]) -> str:
    training = fields["training"]
    levels = "\n".join(
        f"| {level['name']} | {level['precision']} | {level['parameters']:,} | {level['macs'] / 1e9:.2f} |"
        for level in fields["levels"]
    )
    metrics = "\n".join(f"- {name}: {value}" for name, value in fields["metrics"].items()) or "- not evaluated"
    data = "\n".join(f"- {entry}" for entry in training["data"])
    return f"""# {fields["name"]} {fields["version"]}

{fields["description"]} {len(fields["classes"])} classes. Licence: {fields["licence"]}.

| level | precision | parameters | GMAC at {fields["input_size"][1]}x{fields["input_size"][0]} |
|---|---|---|---|
{levels}

Input: the frame, scaled to fit {fields["input_size"][1]}x{fields["input_size"][0]}, as uint8 RGB; outputs are class
scores and distance distributions of every location, decoded by `muon_ad_core.detect`.

## Training
{training["steps_done"]:,} steps of {training["batch"]} pictures ({training["hours"]} h of wall time), inputs of
{training["start_size"]} to {training["size"]} pixels, optimiser {training["optimizer"]}, seed {training["seed"]}.
{training["method"]}
The exported weights are a moving average. Data:

{data}

{training["note"]}

`{WEIGHTS}` (float16) lets the training go on: `muon-ad train detector --start PACKAGE`. docs/train.md tells
how to train again.

## Metrics
{metrics}

## Limits
{training["limits"]}
"""
