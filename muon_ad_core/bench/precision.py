# SPDX-License-Identifier: Apache-2.0
"""One level of a style engine in float32, bfloat16, mixed and INT8 precision: time, fidelity, memory, in OpenVINO.

Each runs in a process of its own, turn about. Mixed keeps the layers that INT8 harms most in floating point until the
pictures are as like the float network's as --fidelity says. Needs PyTorch, onnx, onnxruntime and OpenVINO, and the
weights in the engine's package. float16 is for GPUs and is not measured here.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError, UserError

if TYPE_CHECKING:
    import numpy as np

    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.helper_process import HelperProcess
    from muon_ad_core.distill.student_graphs import FidelityJudge

NEEDED = ("torch", "onnx", "onnxruntime", "openvino")
FLOAT32, BFLOAT16, MIXED, INT8 = "float32", "bfloat16", "mixed", "int8"
CALIBRATION_SIDE = 256
PATIENCE = 120.0
"""Seconds in which a process must have answered."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench precision``."""
    parser.add_argument("--engine", default="student", help="a student's package: name or folder (default: student)")
    parser.add_argument("--level", default="fine", help="level that is looked at (default: %(default)s)")
    parser.add_argument("--fidelity", type=float, default=0.995, help="SSIM of mixed precision (default: %(default)s)")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs (default: scikit-image's)")
    parser.add_argument("--count", type=int, default=4, help="photographs that judge (default: %(default)s)")
    parser.add_argument("--calibration", type=int, default=64, help="frames that set INT8's ranges (default: 64)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="size of a frame (default: 640x480)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all processors)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each precision (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=30, help="frames a turn (default: %(default)s)")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when something needed is missing or cannot be read."""
    for module in NEEDED:
        if importlib.util.find_spec(module) is None:
            raise UserError(f"this needs {module}, which is not installed: pip install -r requirements/train.txt")
    if min(args.count, args.calibration, args.rounds, args.frames) < 1 or not 0 <= args.fidelity <= 1:
        raise ParameterError("counts must be at least 1, and --fidelity from 0 to 1")
    from safetensors.numpy import save_file

    from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
    from muon_ad_core.bench.engine import read_size
    from muon_ad_core.bench.helper_process import HelperProcess
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.witness import Witness
    from muon_ad_core.engine.package import EnginePackage, find_engine

    package, size = EnginePackage.load(find_engine(args.engine)), read_size(args.size)
    threads = args.threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        contenders, judge, plan = _make_graphs(package, args, Path(folder))
        frame = Path(folder) / "frame.safetensors"
        save_file(_frame(package, args.level, size), frame)
        # The package's own cache is left alone, and no contender is compiled already.
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        helpers = {}
        for name, (graph, precision) in contenders.items():
            helpers[name] = stack.enter_context(HelperProcess("muon_ad_core.bench.precision_helper", environment))
            request = {
                "do": "open",
                "graph": str(graph),
                "precision": precision,
                "threads": threads,
                "inputs": str(frame),
            }
            helpers[name].ask(request, PATIENCE, _nothing)
        with Witness() as witness:
            turns = _take_turns(helpers, args.rounds, args.frames)
        rows = []
        for name in contenders:
            memory = helpers[name].ask({"do": "memory"}, PATIENCE, _nothing)
            rows.append(_row(name, turns[name], memory, judge(_RemoteGraph(helpers[name], Path(folder)))))
    config = {"engine": package.name, "level": args.level, "size": args.size, "threads": threads, "rounds": args.rounds,
              "frames": args.frames, "fidelity": args.fidelity, "calibration": args.calibration}  # fmt: skip
    samples = {name: Series("ms", [turn["times"] for turn in turns[name]], LOWER) for name in contenders}
    results = {"rows": rows, **plan}
    return Measurement(
        config, results, summarise(rows), describe(rows, plan), [describe_input(package.root)], samples,
        stalls=witness.stalls,
    )  # fmt: skip


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Flat figures by precision, and how many times faster than float32 each is."""
    found: dict[str, float | None] = {}
    whole = next(row["ms"] for row in rows if row["precision"] == FLOAT32)
    for row in rows:
        name = row["precision"]
        found[f"ms_{name}"], found[f"ssim_{name}"] = row["ms"], row["ssim"]
        found[f"peak_mb_{name}"], found[f"pool_free_share_{name}"] = row["peak_mb"], row["pool_free_share"]
        found[f"page_faults_per_frame_{name}"] = row["page_faults_per_frame"]
        if name != FLOAT32:
            found[f"speedup_{name}"] = whole / row["ms"]
    return found


def describe(rows: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> str:
    """For a terminal."""
    keys = [key for key in rows[0] if key != "precision"]
    lines = [f"{'':10}" + "".join(f"{key:>24}" for key in keys)]
    for row in rows:
        cells = "".join(f"{'-' if row[key] is None else format(row[key], '.4g'):>24}" for key in keys)
        lines.append(f"{row['precision']:10}{cells}")
    kept = ", ".join(plan["float_layers"]) or "none: INT8 is as faithful as that"
    return "\n".join([*lines, f"layers that mixed precision keeps in floating point: {kept}"])


def _make_graphs(
    package: Any, args: argparse.Namespace, folder: Path
) -> tuple[dict[str, tuple[Path, str]], FidelityJudge, dict[str, Any]]:
    """Graph and OpenVINO's precision of each contender; the judge; and what the plan for mixed precision found."""
    from safetensors.numpy import load_file

    from muon_ad_core.bench.picture_pairs import evenly_chosen, named_pictures
    from muon_ad_core.bench.style_peers import OpenVinoPainter
    from muon_ad_core.bench.style_quality import PHOTOGRAPHS, resized
    from muon_ad_core.compress.precision_plan import convolution_work, plan_precision
    from muon_ad_core.compress.quantise import CalibratedGraph
    from muon_ad_core.distill.student_graphs import PACKED_VGA, FidelityJudge, calibration_inputs, export_float_level
    from muon_ad_core.distill.student_package import named_exit
    from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
    from muon_ad_core.engine.openvino_runtime import picture_precision

    painter, level = named_exit(package, args.level), package.level(args.level)
    student = painter.student
    codes = load_file(package.path(package.manifest["styles_file"]))
    photographs = [picture for _, picture in evenly_chosen(named_pictures(args.photos, PHOTOGRAPHS), args.count)]
    floating, mixed = folder / "float.onnx", folder / "mixed.onnx"
    export_float_level(student, painter.exit, floating)
    crops = _crops(photographs, args.calibration)
    calibrated = CalibratedGraph(floating, folder, calibration_inputs(student, codes, crops))
    squares = [resized(picture, (320, 320)) for picture in photographs]
    judge = FidelityJudge(painter, codes, squares)
    work = convolution_work(floating, {"pixels": PACKED_VGA, "code": (1, student.config.code)})
    plan = plan_precision(calibrated, lambda path: judge(OnnxRuntimeGraph(path, 1)), work, args.fidelity, folder)
    calibrated.write(mixed, [name for name in calibrated.convolutions if name not in plan.kept])
    contenders = {FLOAT32: (floating, "f32")}
    if OpenVinoPainter.has_bfloat16():
        contenders[BFLOAT16] = (floating, "bf16")
    contenders |= {MIXED: (mixed, picture_precision()), INT8: (package.path(level.graph), picture_precision())}
    return contenders, judge, {"float_layers": list(plan.kept), "losses": dict(plan.losses)}


def _crops(photographs: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    import numpy as np

    from muon_ad_core.distill.pictures import ZOOM, random_crop

    draw = np.random.default_rng(0)
    return [random_crop(photographs[i % len(photographs)], CALIBRATION_SIDE, ZOOM, draw) for i in range(count)]


def _frame(package: Any, level: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Inputs of the level's graph for a frame of that size; its contents do not change the time."""
    import numpy as np

    from muon_ad_core.engine.frames import painted_size, whole_cells

    described, (width, height) = package.level(level), size
    block = described.input_block
    height, width = whole_cells(*painted_size(height, width, described.most_pixels, described.scale))
    pixels = np.random.default_rng(0).integers(0, 256, (1, height // block, width // block, 3 * block**2), np.uint8)
    return {"pixels": pixels, "code": np.zeros((1, package.manifest["code_length"]), np.float32)}


class _RemoteGraph:
    """The graph that a process has opened, for the judge."""

    def __init__(self, helper: HelperProcess, folder: Path) -> None:
        self._helper, self._inputs, self._outputs = helper, folder / "inputs", folder / "outputs"

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file, save_file

        save_file(dict(inputs), self._inputs)
        request = {"do": "paint", "inputs": str(self._inputs), "outputs": str(self._outputs)}
        self._helper.ask(request, PATIENCE, _nothing)
        return load_file(self._outputs)


def _take_turns(helpers: Mapping[str, HelperProcess], rounds: int, frames: int) -> dict[str, list[dict[str, Any]]]:
    """What every process told of each of its turns; the order is drawn anew in every round."""
    order, draw = list(helpers), random.Random(0)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in helpers}
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            turns[name].append(helpers[name].ask({"do": "run", "frames": frames}, PATIENCE, _nothing))
    return turns


def _row(name: str, turns: Sequence[Mapping[str, Any]], memory: Mapping[str, Any], ssim: float) -> dict[str, Any]:
    times = [value for turn in turns for value in turn["times"]]
    # The first turn may still grow what later ones reuse.
    steady = turns[1:] or turns
    frames = sum(len(turn["times"]) for turn in steady)
    faults = sum(turn["page_faults"] for turn in steady) / frames
    return {"precision": name, "ms": median(times), "ssim": ssim, **memory, "page_faults_per_frame": faults}


def _nothing() -> None:
    """While a process works, this one waits."""
