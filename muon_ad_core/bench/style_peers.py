# SPDX-License-Identifier: Apache-2.0
"""Other networks for style transfer as things to time, uint8 frame in and out, in the runtimes that are installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.errors import ParameterError

Painter = Callable[[np.ndarray], Any]
"""Stylises an RGB uint8 frame (H, W, 3)."""
JOHNSON, MICRO_AST = "Johnson", "MicroAST-shaped"
ORT = "ONNX Runtime float32"
CALIBRATION_SHAPE = (1, 128, 160, 3)
FLOAT_GRAPH, INT8_GRAPH, RECIPE = ".float.onnx", ".int8.onnx", ".json"
NCNN_GRAPH, NCNN_INPUT, NCNN_OUTPUT = "styletransfer.param.bin", 0, 74


def export_peers(folder: Path) -> tuple[dict[str, Path], str]:
    """ONNX graphs of the peers, by network and "float" or "int8"; without PyTorch none, and the reason.

    Their weights are random.
    """
    missing = [module for module in ("torch", "onnx", "onnxruntime") if importlib.util.find_spec(module) is None]
    if missing:
        return {}, f"the networks of others are left out: {missing[0]} is not installed (requirements/train.txt)"
    import torch

    from muon_ad_core.compress.frame_graphs import export_frame_network
    from muon_ad_core.nets.peers import johnson_network, micro_ast_network

    graphs: dict[str, Path] = {}
    torch.manual_seed(0)
    for name, build in ((JOHNSON, johnson_network), (MICRO_AST, micro_ast_network)):
        random = np.random.default_rng(0)
        frames = (random.integers(0, 256, CALIBRATION_SHAPE, np.uint8) for _ in range(2))
        floating, int8 = export_frame_network(build(), folder / name, frames)
        graphs |= {f"{name} float": floating, f"{name} int8": int8}
    return graphs, ""


def trained_johnson(folder: Path) -> dict[str, Path]:
    """Float graphs by style of what `muon-ad train johnson` wrote; raises ParameterError when there are none."""
    graphs = {path.name.removesuffix(FLOAT_GRAPH): path for path in sorted(folder.glob(f"*{FLOAT_GRAPH}"))}
    if not graphs:
        raise ParameterError(f"{folder} has no STYLE{FLOAT_GRAPH}: name the output folder of muon-ad train johnson")
    return graphs


def recipe_of(path: Path) -> dict[str, Any]:
    """How the network of a float graph was trained; empty where nothing tells it."""
    file = path.with_name(path.name.removesuffix(FLOAT_GRAPH) + RECIPE)
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def int8_graph(path: Path) -> Path:
    """The INT8 graph beside a float graph."""
    return path.with_name(path.name.removesuffix(FLOAT_GRAPH) + INT8_GRAPH)


def open_peers(graphs: Mapping[str, Path], threads: int) -> Iterator[tuple[str, Painter]]:
    """Name and painter of each network in each runtime and precision; names are "NETWORK, RUNTIME PRECISION"."""
    for network in (JOHNSON, MICRO_AST):
        if f"{network} float" not in graphs:
            continue
        floating, int8 = graphs[f"{network} float"], graphs[f"{network} int8"]
        yield f"{network}, {ORT}", _in_onnxruntime(floating, threads)
        if importlib.util.find_spec("openvino"):
            from muon_ad_core.engine.openvino_runtime import picture_precision

            yield f"{network}, OpenVINO float32", OpenVinoPainter(floating, threads, "f32")
            if OpenVinoPainter.has_bfloat16():
                yield f"{network}, OpenVINO bfloat16", OpenVinoPainter(floating, threads, "bf16")
            yield f"{network}, OpenVINO int8", OpenVinoPainter(int8, threads, picture_precision())


def open_ncnn(folder: Path, threads: int) -> Iterator[tuple[str, Painter]]:
    """The networks in ncnn's format in a folder (styletransfer.param.bin and weights), where ncnn is installed."""
    if importlib.util.find_spec("ncnn") is None or not (folder / NCNN_GRAPH).is_file():
        return
    for weights in sorted(folder.glob("*.bin")):
        if weights.name != NCNN_GRAPH:
            yield f"{JOHNSON}, ncnn float ({weights.stem})", NcnnPainter(folder / NCNN_GRAPH, weights, threads)


class OpenVinoPainter:
    """A graph compiled for the size of its first frame."""

    def __init__(self, path: Path, threads: int, precision: str) -> None:
        """precision: f32 or bf16, of what is not int8 in the graph."""
        import openvino

        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        self._request: Any = None

    @staticmethod
    def has_bfloat16() -> bool:
        """Whether the processor computes with it; elsewhere it is emulated, many times slower."""
        import openvino

        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    def __call__(self, frame: np.ndarray) -> Any:
        if self._request is None:
            self._model.reshape([1, *frame.shape])
            self._request = self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()
        return self._request.infer([frame[None]], share_inputs=True, share_outputs=True)


class NcnnPainter:
    """One of the networks by nihui (ncnn-android-styletransfer), RGB planes in 0..255."""

    def __init__(self, graph: Path, weights: Path, threads: int) -> None:
        import ncnn

        self._library = ncnn
        self._network = ncnn.Net()
        self._network.opt.num_threads = threads
        self._network.load_param_bin(str(graph))
        self._network.load_model(str(weights))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(frame.transpose(2, 0, 1), dtype=np.float32)  # read in place: must live on
        extractor = self._network.create_extractor()
        extractor.input(NCNN_INPUT, self._library.Mat(planes))
        painted = np.array(extractor.extract(NCNN_OUTPUT)[1])
        return np.clip(painted, 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _in_onnxruntime(path: Path, threads: int) -> Painter:
    graph = OnnxRuntimeGraph(path, threads)
    return lambda frame: graph.run({"frame": frame[None]})["painted"]
