# SPDX-License-Identifier: Apache-2.0
"""Graphs executed by OpenVINO on the CPU."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino

from muon_ad_core.engine.compiled_cache import CompiledCache
from muon_ad_core.engine.int8_weights import fit_16_bits
from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.errors import EngineError
from muon_ad_core.machine import Machine

CONVOLUTION_DIMENSIONS = 4
"""Of the weights of a convolution of pictures."""
Signature = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of the inputs."""


def load_library() -> None:
    """Load what OpenVINO needs for the CPU, which it does not before it is first used."""
    openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")


def picture_precision() -> str:
    """In which a graph of pictures runs fastest here what it has besides INT8; one grey level of difference is nothing.

    bfloat16 where the processor has matrix units (AMX), whose INT8 convolutions write it; elsewhere float32.
    """
    return "bf16" if "amx_bf16" in Machine().processor_flags() else "f32"


def computes_any_int8() -> bool:
    """Whether INT8 convolutions come out right here whatever their weights are (`int8_weights`)."""
    flags = Machine().processor_flags()
    return "sse4_1" not in flags or bool(flags & {"avx_vnni", "avx512_vnni", "amx_int8"})


class OpenVinoGraph(Graph):
    """One ONNX graph, compiled for the input shapes it meets (static shapes run faster).

    Only the form for the latest shapes is held, so that memory does not grow with the number of picture sizes; others
    come back from the user's cache folder.
    """

    backend = "openvino"

    def __init__(self, path: Path, threads: int, precision: str = "f32") -> None:
        """precision: of what is not INT8, "f32" or "bf16"."""
        self._path = path
        self._core = openvino.Core()
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or len(os.sched_getaffinity(0)),
            # Pinned threads cannot move away from a core that another process has taken.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": precision,
        }
        self._model: openvino.Model | None = None
        if not computes_any_int8() and not _weights_fit(self._read()):
            self._settings["LP_TRANSFORMS_MODE"] = "NO"  # what was rounded to INT8 is computed in floating point
        self._cache = self._open_cache()
        self._signature: Signature = ()
        self._request: openvino.InferRequest | None = None
        self._bound: dict[str, np.ndarray] = {}
        if not self._cache.filled:
            self._read()  # a file that is no graph is refused here

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {
            port.any_name: tuple(0 if side.is_dynamic else side.get_length() for side in port.partial_shape)
            for port in self._read().inputs
        }

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        signature = tuple((name, array.shape) for name, array in inputs.items())
        if signature != self._signature or self._request is None:
            self._request = None  # its memory first
            self._request = self._prepare(signature)
            self._signature, self._bound = signature, {}
        self._bind(self._request, inputs)
        results = self._request.infer(share_outputs=True)
        return {output.any_name: array for output, array in results.items()}

    def _bind(self, request: openvino.InferRequest, inputs: Arrays) -> None:
        """Let the request read these arrays, as long as they are not others."""
        for name, array in inputs.items():
            shared = array.flags.writeable  # OpenVINO copies the others
            if not shared or self._bound.get(name) is not array:
                request.set_tensor(name, openvino.Tensor(array, shared_memory=shared))
                self._bound[name] = array

    def _open_cache(self) -> CompiledCache:
        """The cache for this graph, this processor, this release of OpenVINO and these settings."""
        device = [
            str(self._core.get_property("CPU", name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        ]
        self.identity = f"openvino {openvino.__version__} {device} {self._settings}"
        try:
            return CompiledCache(self._path, self.identity)
        except OSError as error:
            raise EngineError(f"{self._path} cannot be read ({error.strerror}): copy the engine again") from None

    def _read(self) -> openvino.Model:
        if self._model is None:
            try:
                self._model = self._core.read_model(self._path)
            except RuntimeError as error:
                raise EngineError(
                    f"{self._path} cannot be read as a graph ({_first_line(error)}): copy the engine again"
                ) from None
        return self._model

    def _prepare(self, signature: Signature) -> openvino.InferRequest:
        """A request for these inputs: from the cache, or compiled now and put there."""
        compiled = self._cache.read(str(signature))
        if compiled is not None:
            try:
                return self._core.import_model(io.BytesIO(compiled), "CPU", self._settings).create_infer_request()
            except RuntimeError:  # another build of the same release, say: compile it
                pass
        model = self._compile(signature)
        exported = io.BytesIO()
        model.export_model(exported)
        self._cache.write(str(signature), exported.getvalue())
        return model.create_infer_request()

    def _compile(self, signature: Signature) -> openvino.CompiledModel:
        model = self._read().clone()
        try:
            model.reshape({name: openvino.PartialShape(list(shape)) for name, shape in signature})
            return self._core.compile_model(model, "CPU", self._settings)
        except RuntimeError as error:
            raise EngineError(f"the graph does not take inputs of {dict(signature)} ({_first_line(error)})") from None


def _weights_fit(model: openvino.Model) -> bool:
    """Whether the INT8 weights of all convolutions are such that they come out right on every processor."""
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    return all(
        fit_16_bits(node.data)
        for node in constants
        if node.get_element_type() == openvino.Type.i8 and len(node.shape) == CONVOLUTION_DIMENSIONS
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
