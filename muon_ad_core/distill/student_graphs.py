# SPDX-License-Identifier: Apache-2.0
"""The graphs of a student: each level exported, quantised and judged, and the stored example of the self-check."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.numpy import save_file
from skimage.metrics import structural_similarity

from muon_ad_core.compress.export import count_macs, export_onnx
from muon_ad_core.compress.precision_plan import convolution_work, plan_precision
from muon_ad_core.compress.quantise import CalibratedGraph
from muon_ad_core.distill.pictures import to_picture, to_tensor
from muon_ad_core.engine.finishing import CONTRAST_FIELD, NOTHING, Finish, Finisher
from muon_ad_core.engine.frames import VGA, painted_size
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.engine.self_check import REFERENCE_FILE, reference_of, reference_picture
from muon_ad_core.nets.packed_student import PACKED_BLOCK, PackedStudent
from muon_ad_core.nets.student import LEVELS, Level, Student, pack_pixels, unpack_pixels

PACKED_VGA = (1, VGA[0] // PACKED_BLOCK, VGA[1] // PACKED_BLOCK, 3 * PACKED_BLOCK**2)
"""Shape of a packed 640x480 frame."""
MOST_PIXELS: dict[Level, int] = {"fast": 300_000, "fine": 600_000}
"""Frames of more are painted at a half, a third, ... of their size: by exit `fast` those of 640x480, too."""
CALIBRATION_FRAMES = 512
CALIBRATION_SIDE = 256
FAST_ONLY = ("fast_head",)
FINE_ONLY = ("up_half", "up_detail", "half_", "fine_head")
"""Beginnings of the names of parameters that one level has to itself."""
Codes = Mapping[str, np.ndarray]
Report = Callable[[str], None]


@dataclass(frozen=True)
class NamedExit:
    """A level of a package: its name, the student that paints it, by which exit, at most how many pixels, at what part
    of the frame's size, and what is done to what it painted."""

    name: str
    student: Student
    exit: Level
    most_pixels: int
    scale: float = 1.0
    finish: Finish = NOTHING


def both_exits(
    student: Student, scales: Mapping[Level, float] | None = None, finish: Finish = NOTHING
) -> list[NamedExit]:
    """The levels of a package of one student, which are called as its exits; scales: of those that paint smaller."""
    return [
        NamedExit(level, student, level, MOST_PIXELS[level], (scales or {}).get(level, 1.0), finish) for level in LEVELS
    ]


def written_files(exits: Sequence[NamedExit]) -> list[str]:
    """What `export_levels` writes."""
    return [*(f"{each.name}.onnx" for each in exits), REFERENCE_FILE]


def export_levels(
    exits: Sequence[NamedExit],
    codes: Codes,
    calibration: Callable[[], Iterable[np.ndarray]],
    validation: Sequence[np.ndarray],
    target: Path,
    report: Report = print,
    fidelity: float | None = None,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Write `written_files` into `target`; returns the manifest's levels and the metrics of their precision.

    exits: the levels, whose students share their codes; codes: of the styles; calibration: makes the pictures whose
    activations set the ranges of INT8; validation: pictures on which INT8 is compared with the float network;
    fidelity: SSIM to the float network that is wanted there, for which sensitive layers stay in floating point (None:
    all layers are INT8).
    Pictures are RGB uint8, sides multiples of 8.
    """
    levels, metrics = [], {}
    for each in exits:
        report(f"exporting level {each.name}")
        judge = FidelityJudge(each, codes, validation)
        entry, found = _export_level(each, codes, calibration(), judge, fidelity, target)
        levels.append(entry)
        metrics[f"ssim_int8_float_{each.name}"] = round(found, 4)
    graphs = {each.name: _graph(target / f"{each.name}.onnx") for each in exits}
    save_file(reference_of(graphs, _reference_inputs(next(iter(codes.values())))), target / REFERENCE_FILE)
    return levels, metrics


def export_float_level(student: Student, level: Level, path: Path, size: tuple[int, int] = VGA) -> int:
    """Write one level in floating point; returns its multiply-accumulates of so many rows and columns of pixels."""
    network = PackedStudent(student, level)
    rows, columns = (side // PACKED_BLOCK for side in size)
    pixels = torch.zeros(1, rows, columns, 3 * PACKED_BLOCK**2, dtype=torch.uint8)
    inputs = {"pixels": pixels, "code": torch.zeros(1, student.config.code)}
    sizes = {0: "batch", 1: "rows", 2: "columns"}
    export_onnx(network, inputs, ["painted"], path, {"pixels": sizes, "painted": sizes, "code": {0: "batch"}})
    return count_macs(network, inputs)


def _export_level(
    level: NamedExit,
    codes: Codes,
    calibration: Iterable[np.ndarray],
    judge: FidelityJudge,
    fidelity: float | None,
    target: Path,
) -> tuple[dict[str, Any], float]:
    """Entry of the manifest, and the graph's fidelity."""
    student = level.student
    with tempfile.TemporaryDirectory() as folder:
        float_graph = Path(folder) / "float.onnx"
        macs = export_float_level(student, level.exit, float_graph, painted_size(*VGA, level.most_pixels, level.scale))
        calibrated = CalibratedGraph(float_graph, Path(folder), calibration_inputs(student, codes, calibration))
        kept: tuple[str, ...] = ()
        if fidelity is not None:
            work = convolution_work(float_graph, {"pixels": PACKED_VGA, "code": (1, student.config.code)})
            kept = plan_precision(calibrated, lambda tried: judge(_graph(tried)), work, fidelity, Path(folder)).kept
        graph = target / f"{level.name}.onnx"
        calibrated.write(graph, [name for name in calibrated.convolutions if name not in kept])
    unused = FINE_ONLY if level.exit == "fast" else FAST_ONLY
    used = [p for name, p in student.named_parameters() if not name.startswith(unused)]
    entry = {
        "name": level.name, "graph": graph.name, "precision": "mixed" if kept else "int8",
        "width": student.config.width, "parameters": sum(p.numel() for p in used), "macs": macs,
        "input_block": PACKED_BLOCK, "output_block": PACKED_BLOCK, "most_pixels": level.most_pixels,
        "scale": level.scale, CONTRAST_FIELD: level.finish.local_contrast,
    }  # fmt: skip
    return entry | ({"float_layers": list(kept)} if kept else {}), judge(_graph(graph))


def calibration_inputs(
    student: Student, codes: Codes, pictures: Iterable[np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of a level's graph for pictures, in one style after the other."""
    styles = list(codes.values())
    for index, picture in enumerate(pictures):
        code = _frame_code(student, styles[index % len(styles)], picture)
        yield {"pixels": _packed(picture), "code": code}


class Runnable(Protocol):
    """What a judge needs of a graph."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...


class FidelityJudge:
    """Mean SSIM of a level's graph against the float network over pictures and every third style.

    Pictures are RGB uint8 of any size whose sides are multiples of 8; results are finished as the runtime does it.
    """

    def __init__(self, level: NamedExit, codes: Codes, pictures: Sequence[np.ndarray]) -> None:
        student = level.student
        self._finish = Finisher(level.finish)
        self._examples: list[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]] = []
        for picture in pictures:
            for code in list(codes.values())[::3]:
                frame_code = _frame_code(student, code, picture)
                with torch.no_grad():
                    painted = to_picture(student(to_tensor([picture]), torch.from_numpy(frame_code), level.exit)[0])
                inputs = {"pixels": _packed(picture), "code": frame_code}
                self._examples.append((inputs, picture, self._shown(painted, picture)))

    def __call__(self, graph: Runnable) -> float:
        likeness = []
        for inputs, picture, expected in self._examples:
            shown = self._shown(_unpacked(graph.run(inputs)["painted"]), picture)
            likeness.append(structural_similarity(shown, expected, channel_axis=2))
        return float(np.mean(likeness))

    def _shown(self, painted: np.ndarray, picture: np.ndarray) -> np.ndarray:
        result = np.empty(painted.shape, np.uint8)
        picture = np.ascontiguousarray(picture)
        self._finish(np.ascontiguousarray(painted), picture, picture, result)
        return result


def _graph(path: Path) -> OnnxRuntimeGraph:
    return OnnxRuntimeGraph(path, 1)


def _frame_code(student: Student, code: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """A style's code for this picture, (1, code)."""
    with torch.no_grad():
        return code + student.context(to_tensor([picture])).numpy()


def _reference_inputs(code: np.ndarray) -> dict[str, np.ndarray]:
    pixels = _packed(reference_picture())
    return {"pixels": pixels, "code": np.ascontiguousarray(code[None], np.float32)}


def _packed(picture: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(np.ascontiguousarray(picture))[None].permute(0, 3, 1, 2)
    return pack_pixels(pixels, PACKED_BLOCK).permute(0, 2, 3, 1).contiguous().numpy()


def _unpacked(painted: np.ndarray) -> np.ndarray:
    return unpack_pixels(torch.from_numpy(painted).permute(0, 3, 1, 2), PACKED_BLOCK)[0].permute(1, 2, 0).numpy()
