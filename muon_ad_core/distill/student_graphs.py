# SPDX-License-Identifier: Apache-2.0
"""The graphs of a student: each level exported, quantised and judged, and the stored example of the self-check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.numpy import save_file
from skimage.metrics import structural_similarity

from muon_ad_core.compress.export import count_macs, export_onnx
from muon_ad_core.compress.quantise import quantise
from muon_ad_core.distill.pictures import to_picture, to_tensor
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.engine.runtime import Graph
from muon_ad_core.engine.self_check import REFERENCE_FILE, reference_of
from muon_ad_core.nets.packed_student import PACKED_BLOCK, PackedStudent
from muon_ad_core.nets.student import LEVELS, Level, Student, pack_pixels, unpack_pixels

PACKED_VGA = (1, 480 // PACKED_BLOCK, 640 // PACKED_BLOCK, 3 * PACKED_BLOCK**2)
"""Shape of a packed 640x480 frame."""
CALIBRATION_FRAMES = 512
CALIBRATION_SIDE = 256
REFERENCE_SIDE = 64
FAST_ONLY = ("fast_head",)
FINE_ONLY = ("up_half", "up_detail", "half_", "fine_head")
"""Beginnings of the names of parameters that one level has to itself."""
FILES = (*(f"{level}.onnx" for level in LEVELS), REFERENCE_FILE)
"""What `export_levels` writes."""
Codes = Mapping[str, np.ndarray]
Report = Callable[[str], None]


def export_levels(
    student: Student,
    codes: Codes,
    calibration: Callable[[], Iterable[np.ndarray]],
    validation: Sequence[np.ndarray],
    target: Path,
    report: Report = print,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Write FILES into `target`; returns the manifest's levels and the metrics of their precision.

    codes: of the styles; calibration: makes the pictures whose activations set the ranges of INT8; validation:
    pictures on which INT8 is compared with the float network. Pictures are RGB uint8, sides multiples of 8.
    """
    levels, metrics = [], {}
    for level in LEVELS:
        report(f"exporting level {level}")
        levels.append(_export_level(student, level, codes, calibration(), target))
        metrics[f"ssim_int8_float_{level}"] = _int8_fidelity(student, level, codes, validation, _graph(target, level))
    graphs: dict[str, Graph] = {level: _graph(target, level) for level in LEVELS}
    save_file(reference_of(graphs, _reference_inputs(next(iter(codes.values())))), target / REFERENCE_FILE)
    return levels, metrics


def export_float_level(student: Student, level: Level, path: Path) -> int:
    """Write one level in floating point; returns its multiply-accumulates of a 640x480 frame."""
    network = PackedStudent(student, level)
    inputs = {"pixels": torch.zeros(PACKED_VGA, dtype=torch.uint8), "code": torch.zeros(1, student.config.code)}
    sizes = {0: "batch", 1: "rows", 2: "columns"}
    export_onnx(network, inputs, ["painted"], path, {"pixels": sizes, "painted": sizes, "code": {0: "batch"}})
    return count_macs(network, inputs)


def _export_level(
    student: Student, level: Level, codes: Codes, calibration: Iterable[np.ndarray], target: Path
) -> dict[str, Any]:
    float_graph = target / f"{level}.float.onnx"
    macs = export_float_level(student, level, float_graph)
    styles = list(codes.values())
    frames = ({"pixels": _packed(p), "code": styles[i % len(styles)][None]} for i, p in enumerate(calibration))
    quantise(float_graph, target / f"{level}.onnx", frames)
    float_graph.unlink()
    unused = FINE_ONLY if level == "fast" else FAST_ONLY
    used = [p for name, p in student.named_parameters() if not name.startswith(unused)]
    return {
        "name": level, "graph": f"{level}.onnx", "precision": "int8", "width": student.config.width,
        "parameters": sum(p.numel() for p in used), "macs": macs,
        "input_block": PACKED_BLOCK, "output_block": PACKED_BLOCK,
    }  # fmt: skip


def _graph(folder: Path, level: Level) -> OnnxRuntimeGraph:
    return OnnxRuntimeGraph(folder / f"{level}.onnx", 1)


def _int8_fidelity(
    student: Student, level: Level, codes: Codes, validation: Sequence[np.ndarray], graph: OnnxRuntimeGraph
) -> float:
    """Mean SSIM of the INT8 graph against the float network over pictures and every third style."""
    found = []
    for picture in validation:
        for code in list(codes.values())[::3]:
            with torch.no_grad():
                expected = to_picture(student(to_tensor([picture]), torch.from_numpy(code)[None], level)[0])
            painted = _unpacked(graph.run({"pixels": _packed(picture), "code": code[None]})["painted"])
            found.append(structural_similarity(expected, painted, channel_axis=2))
    return round(float(np.mean(found)), 4)


def _reference_inputs(code: np.ndarray) -> dict[str, np.ndarray]:
    """Soft spots of random colour with some noise: all that a picture has, and nobody's picture."""
    random = np.random.default_rng(0)
    spots = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = cv2.resize(spots, (REFERENCE_SIDE, REFERENCE_SIDE), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return {"pixels": _packed(noisy), "code": np.ascontiguousarray(code[None], np.float32)}


def _packed(picture: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(picture))[None].permute(0, 3, 1, 2)
    return pack_pixels(pixels, PACKED_BLOCK).permute(0, 2, 3, 1).contiguous().numpy()


def _unpacked(painted: np.ndarray) -> np.ndarray:
    return unpack_pixels(torch.from_numpy(painted).permute(0, 3, 1, 2), PACKED_BLOCK)[0].permute(1, 2, 0).numpy()
