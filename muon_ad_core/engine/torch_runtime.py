# SPDX-License-Identifier: Apache-2.0
"""Graphs executed by PyTorch: CUDA graphs on a stream of the process's priority where there is a GPU, else eagerly.

Needs torch and onnx, which no node needs otherwise; it is used where backend is set to "torch". On a GPU that style and
detection share, kernels of the high-priority stream go first, but one that runs is not pre-empted: the scheduler
therefore also lets detection begin only in slots after a style frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.engine.torch_operators import ELEMENT_TYPES, OPERATORS
from muon_ad_core.errors import EngineError

MAX_CAPTURED = 4
"""Input shapes whose captured graph is kept; the oldest goes when another one comes."""
WARM_UPS = 3  # runs before a capture, in which libraries choose their kernels
HIGH, LOW = -1, 0  # priorities of CUDA streams; lower numbers go first


@dataclass(frozen=True)
class _Step:
    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class _Captured:
    """A graph with its own memory: copy into `inputs`, replay, copy out of `outputs`; the host side is pinned."""

    graph: Any
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]
    host_inputs: dict[str, torch.Tensor]
    host_outputs: dict[str, torch.Tensor]


class TorchGraph(Graph):
    """One ONNX graph of this project's own operators."""

    backend = "torch"

    def __init__(self, path: Path, threads: int) -> None:
        """threads: of the CPU, where there is no GPU; 0 leaves the number to PyTorch."""
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model = onnx.load(str(path))
        except Exception as error:  # protobuf's errors have no common class
            raise EngineError(f"{path} cannot be read as a graph ({error}): copy the engine again") from None
        unknown = sorted({node.op_type for node in model.graph.node} - {*OPERATORS, "Constant"})
        if unknown:
            raise EngineError(f"{path} uses {unknown[0]}, which backend torch lacks: choose another backend")
        constants = {tensor.name for tensor in model.graph.initializer}
        self._input_shapes = {
            entry.name: tuple(side.dim_value for side in entry.type.tensor_type.shape.dim)
            for entry in model.graph.input
            if entry.name not in constants
        }
        self._outputs = [output.name for output in model.graph.output]
        self._constants, self._steps = self._fold(model)
        self._captured: dict[tuple[tuple[str, tuple[int, ...]], ...], _Captured] = {}
        self._stream = self._make_stream(HIGH)

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._input_shapes

    def set_urgent(self, urgent: bool) -> None:
        """Run on a stream of high priority, or of low. Graphs are captured anew for the other stream."""
        stream_priority = HIGH if urgent else LOW
        if self._stream is not None and self._stream.priority != stream_priority:
            self._stream = self._make_stream(stream_priority)
            self._captured.clear()

    @torch.inference_mode()
    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        if self._stream is None:
            tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
            return {name: tensor.contiguous().numpy() for name, tensor in self._execute(tensors).items()}
        signature = tuple((name, array.shape) for name, array in inputs.items())
        captured = self._captured.get(signature)
        if captured is None:
            captured = self._capture(signature, inputs)
        return self._replay(captured, inputs)

    def _make_stream(self, stream_priority: int) -> Any:
        return torch.cuda.Stream(priority=stream_priority) if self._device.type == "cuda" else None

    def _fold(self, model: Any) -> tuple[dict[str, torch.Tensor], list[_Step]]:
        """Constants on the device, and the steps that depend on inputs; what depends on constants only is done now."""
        constants = {tensor.name: self._constant(tensor) for tensor in model.graph.initializer}
        steps = []
        for node in model.graph.node:
            attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = self._constant(attributes["value"])
                continue
            step = _Step(node.op_type, tuple(node.input), node.output[0], attributes)
            if all(not name or name in constants for name in step.inputs):
                constants[step.output] = OPERATORS[step.operator]([constants.get(n) for n in step.inputs], attributes)
            else:
                steps.append(step)
        return constants, steps

    def _constant(self, tensor: Any) -> torch.Tensor:
        """Shapes and axes (int64) stay on the CPU, where they are read."""
        value = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        return value if tensor.data_type == _INT64 else value.to(self._device)

    def _execute(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        values: dict[str, torch.Tensor | None] = {"": None, **self._constants, **inputs}
        for step in self._steps:
            values[step.output] = OPERATORS[step.operator]([values[name] for name in step.inputs], step.attributes)
        return {name: _known(values[name]) for name in self._outputs}

    def _capture(self, signature: tuple[tuple[str, tuple[int, ...]], ...], inputs: Arrays) -> _Captured:
        """Record the kernels of one run for these shapes."""
        host = {name: torch.from_numpy(np.ascontiguousarray(array)).pin_memory() for name, array in inputs.items()}
        device = {name: tensor.to(self._device) for name, tensor in host.items()}
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                self._execute(device)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            outputs = {name: tensor.contiguous() for name, tensor in self._execute(device).items()}
        host_outputs = {name: torch.empty(t.shape, dtype=t.dtype).pin_memory() for name, t in outputs.items()}
        captured = _Captured(graph, device, outputs, host, host_outputs)
        while len(self._captured) >= MAX_CAPTURED:
            del self._captured[next(iter(self._captured))]
        self._captured[signature] = captured
        return captured

    def _replay(self, captured: _Captured, inputs: Arrays) -> dict[str, np.ndarray]:
        for name, array in inputs.items():
            np.copyto(captured.host_inputs[name].numpy(), array)
        with torch.cuda.stream(self._stream):
            for name, tensor in captured.inputs.items():
                tensor.copy_(captured.host_inputs[name], non_blocking=True)
            captured.graph.replay()
            for name, tensor in captured.outputs.items():
                captured.host_outputs[name].copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        return {name: tensor.numpy() for name, tensor in captured.host_outputs.items()}


_INT64 = next(number for number, dtype in ELEMENT_TYPES.items() if dtype == torch.int64)


def _known(value: torch.Tensor | None) -> torch.Tensor:
    assert value is not None
    return value
