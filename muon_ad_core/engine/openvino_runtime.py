# SPDX-License-Identifier: Apache-2.0
"""Graphs executed by OpenVINO on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import openvino

from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.errors import EngineError

MAX_COMPILED = 4
"""Compiled shapes that are kept; the oldest goes when another one comes."""


def load_library() -> None:
    """Load what OpenVINO needs for the CPU, which it does not before it is first used."""
    openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")


class OpenVinoGraph(Graph):
    """One ONNX graph, compiled for each set of input shapes that it meets (static shapes run faster)."""

    backend = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        self._core = openvino.Core()
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or len(os.sched_getaffinity(0)),
            # Pinned threads cannot move away from a core that another process has taken.
            "ENABLE_CPU_PINNING": False,
            # What is not int8 stays float32: style modulation loses visibly in bfloat16 and gains no time.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise EngineError(
                f"{path} cannot be read as a graph ({_first_line(error)}): copy the engine again"
            ) from None
        self.input_shapes = {
            port.any_name: tuple(0 if side.is_dynamic else side.get_length() for side in port.partial_shape)
            for port in self._model.inputs
        }
        self._requests: dict[tuple[tuple[str, tuple[int, ...]], ...], openvino.InferRequest] = {}

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        signature = tuple((name, array.shape) for name, array in inputs.items())
        request = self._requests.get(signature)
        if request is None:
            request = self._compile(signature)
        results = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {output.any_name: array for output, array in results.items()}

    def _compile(self, signature: tuple[tuple[str, tuple[int, ...]], ...]) -> openvino.InferRequest:
        model = self._model.clone()
        try:
            model.reshape({name: openvino.PartialShape(list(shape)) for name, shape in signature})
            request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"the graph does not take inputs of {dict(signature)} ({_first_line(error)})") from None
        while len(self._requests) >= MAX_COMPILED:
            del self._requests[next(iter(self._requests))]
        self._requests[signature] = request
        return request


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
