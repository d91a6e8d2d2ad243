# SPDX-License-Identifier: Apache-2.0
"""INT8 by explicit Q/DQ pairs: convolutions, symmetric, per channel, activations calibrated on real frames.

ONNX Runtime's quantiser does the work; TensorRT, ONNX Runtime and OpenVINO all read its result. Weights are rounded so
that they come out right on every processor (`engine.int8_weights`).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from muon_ad_core.engine.int8_weights import fitting_ranges

PERCENTILE = 99.99
CHUNK = 16
"""Frames whose activations are held in memory at a time during calibration."""
ARITHMETIC = ("Mul", "Sub", "Add")
Frames = Iterable[dict[str, np.ndarray]]
"""Inputs of a graph."""


def quantise(source: Path, target: Path, frames: Frames, percentile: float = PERCENTILE) -> None:
    """Write the INT8 version of a float ONNX graph.

    frames: graph inputs for calibration, some hundred of them;
    percentile: share of activations, in percent, that the range covers.
    """
    with tempfile.TemporaryDirectory() as folder:
        calibrated = CalibratedGraph(source, Path(folder), frames, percentile)
        calibrated.write(target, calibrated.convolutions)


class CalibratedGraph:
    """A float graph and the ranges of its activations, from which any of its convolutions can be made INT8."""

    def __init__(self, source: Path, folder: Path, frames: Frames, percentile: float = PERCENTILE) -> None:
        """folder: where a prepared copy of the graph lies as long as this is used; else as of `quantise`."""
        self._prepared = folder / "prepared.onnx"
        quant_pre_process(str(source), str(self._prepared), skip_symbolic_shape=True)
        self._ranges = _calibrate(self._prepared, frames, percentile)
        graph = onnx.load(str(self._prepared)).graph
        self._weight_ranges = _weight_ranges(graph)
        self.convolutions: Sequence[str] = [node.name for node in graph.node if node.op_type == "Conv"]
        """Names of all convolutions, in their order."""

    def write(self, target: Path, chosen: Collection[str]) -> None:
        """Write the graph with the `chosen` convolutions in INT8; the others stay in floating point."""
        quantiser = QDQQuantizer(
            onnx.load(str(self._prepared)), per_channel=True, reduce_range=False, weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8, tensors_range=self._ranges, nodes_to_quantize=[],
            nodes_to_exclude=[name for name in self.convolutions if name not in chosen], op_types_to_quantize=["Conv"],
            # Outputs go to modulation and sums, which stay in floating point: rounding them would cost for nothing.
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True,
                           "OpTypesToExcludeOutputQuantization": ["Conv"], "TensorQuantOverrides": self._weight_ranges},
        )  # fmt: skip
        quantiser.quantize_model()
        quantiser.model.save_model_to_file(str(target))
        graph = onnx.load(str(target))
        _pad_integers(graph.graph)
        _transpose_late(graph.graph)
        del graph.graph.value_info[:]  # shapes of what was changed, in part
        onnx.checker.check_model(graph)
        onnx.save(graph, str(target))


def _weight_ranges(graph: onnx.GraphProto) -> dict[str, list[dict[str, Any]]]:
    """What the quantiser is told of each convolution's weights, a range for each of its outputs."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names = {node.input[1] for node in graph.node if node.op_type == "Conv" and node.input[1] in weights}
    return {
        name: [
            {"axis": 0, "quant_type": QuantType.QInt8, "symmetric": True, "rmin": -most, "rmax": most}
            for most in fitting_ranges(numpy_helper.to_array(weights[name])).astype(np.float32)
        ]
        for name in names
    }


def _pad_integers(graph: onnx.GraphProto) -> None:
    """Let what is padded and then rounded be rounded and then padded: the same, with a quarter of the bytes to move.

    Only where padding repeats what is there.
    """
    makers = {output: node for node in graph.node for output in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    for convolution in [node for node in graph.node if node.op_type == "Conv"]:
        chain = [convolution]
        for kind in ("DequantizeLinear", "QuantizeLinear", "Pad"):
            maker = makers.get(chain[-1].input[0])
            if maker is None or maker.op_type != kind or readers[maker.output[0]] > 1:
                break
            chain.append(maker)
        else:
            _, dequantise, rounding, pad = chain
            if onnx.helper.get_node_attr_value(pad, "mode") in (b"edge", b"reflect"):
                rounding.input[0], pad.input[0] = pad.input[0], dequantise.output[0]
                convolution.input[0] = pad.output[0]
                graph.node.remove(pad)
                graph.node.insert(list(graph.node).index(dequantise) + 1, pad)


def _transpose_late(graph: onnx.GraphProto) -> None:
    """Let a transposed input be scaled, rounded and padded as it lies, and be transposed for its convolution: there it
    costs nothing in a runtime whose convolutions read that order.

    Not where bytes are rounded as they are: OpenVINO would lose their scale.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for transposition in [node for node in graph.node if node.op_type == "Transpose"]:
        order = onnx.helper.get_node_attr_value(transposition, "perm")
        passed, last = [], transposition
        while (following := _only(readers.get(last.output[0], []))) is not None and _keeps_order(following, constants):
            passed.append(following)
            last = following
        if following is None or following.op_type != "Conv" or not any(node.op_type in ARITHMETIC for node in passed):
            continue
        for pad in [node for node in passed if node.op_type == "Pad"]:
            graph.initializer.append(_pads_before(pad, order, constants[pad.input[1]]))
            pad.input[1] = graph.initializer[-1].name
        passed[0].input[0] = transposition.input[0]
        transposition.input[0], following.input[0] = last.output[0], transposition.output[0]
        graph.node.remove(transposition)
        graph.node.insert(list(graph.node).index(following), transposition)


def _only(nodes: Sequence[onnx.NodeProto]) -> onnx.NodeProto | None:
    return nodes[0] if len(nodes) == 1 else None


def _keeps_order(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> bool:
    """Whether it pads, or treats all values alike, wherever they lie."""
    if node.op_type == "Pad":
        return node.input[1] in constants
    alike = node.op_type in (*ARITHMETIC, "Cast", "QuantizeLinear", "DequantizeLinear")
    return alike and all(name in constants and constants[name].size == 1 for name in node.input[1:])


def _pads_before(pad: onnx.NodeProto, order: Sequence[int], pads: np.ndarray) -> onnx.TensorProto:
    """What a Pad adds on each side, for a tensor that is transposed to this order only afterwards."""
    moved = pads.reshape(2, -1)[:, np.argsort(order)].flatten()
    return numpy_helper.from_array(moved, f"{pad.name}_before_transposition")


def _calibrate(graph: Path, frames: Frames, percentile: float) -> Any:
    """Activation ranges of every convolution's input."""
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            graph, ["Conv"], augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"percentile": percentile, "symmetric": True},
        )  # fmt: skip
        stream = iter(frames)
        while chunk := list(islice(stream, CHUNK)):
            calibrator.collect_data(_Reader(iter(chunk)))
        return calibrator.compute_data()


class _Reader(CalibrationDataReader):
    def __init__(self, frames: Iterator[dict[str, np.ndarray]]) -> None:
        self._frames = frames

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._frames, None)
