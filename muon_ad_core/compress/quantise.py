# SPDX-License-Identifier: Apache-2.0
"""INT8 by explicit Q/DQ pairs: convolutions, symmetric, per channel, activations calibrated on real frames.

ONNX Runtime's quantiser does the work; TensorRT, ONNX Runtime and OpenVINO all read its result.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

PERCENTILE = 99.99
CHUNK = 16
"""Frames whose activations are held in memory at a time during calibration."""


def quantise(
    source: Path,
    target: Path,
    frames: Iterable[dict[str, np.ndarray]],
    percentile: float = PERCENTILE,
) -> None:
    """Write the INT8 version of a float ONNX graph.

    frames: graph inputs for calibration, some hundred of them;
    percentile: share of activations, in percent, that the range covers.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        ranges = _calibrate(prepared, frames, percentile)
        quantiser = QDQQuantizer(
            onnx.load(str(prepared)), per_channel=True, reduce_range=False, weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8, tensors_range=ranges, nodes_to_quantize=[],
            nodes_to_exclude=[], op_types_to_quantize=["Conv"],
            # Outputs go to modulation and sums, which stay in floating point: rounding them would cost for nothing.
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True,
                           "OpTypesToExcludeOutputQuantization": ["Conv"]},
        )  # fmt: skip
        quantiser.quantize_model()
        quantiser.model.save_model_to_file(str(target))
    onnx.checker.check_model(str(target))


def _calibrate(graph: Path, frames: Iterable[dict[str, np.ndarray]], percentile: float):  # type: ignore[no-untyped-def]
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
