# SPDX-License-Identifier: Apache-2.0
"""Graphs executed by TensorRT (8.5 or newer) on an NVIDIA GPU, or on a Jetson's DLA with the GPU for the rest.

Engines are built from the same ONNX files: their Q/DQ pairs say what runs in int8; the rest may run in float16. Not run
on hardware yet (docs/limits.md); tested against a stand-in for the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt

from muon_ad_core.engine.compiled_cache import CompiledCache
from muon_ad_core.engine.cuda import Cuda
from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.errors import EngineError

WORKSPACE_BYTES = 1 << 28
"""Scratch memory that a kernel may take."""
Signature = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Loaded:
    """An engine for one set of input shapes, and its memory: addresses on the GPU, arrays on the host."""

    context: Any
    addresses: Mapping[str, int]
    outputs: Mapping[str, np.ndarray]


class TensorRtGraph(Graph):
    """One ONNX graph; an engine is built for the input shapes it meets and kept in the user's cache folder.

    Only the engine for the latest shapes is held.
    """

    backend = "tensorrt"

    def __init__(self, path: Path, dla_core: int | None = None) -> None:
        """dla_core: which DLA to use; None: the GPU alone. Raises EngineError without a GPU, or for a broken file."""
        self._path, self._dla_core = path, dla_core
        self._cuda = Cuda()
        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._stream = self._cuda.stream(urgent=False)
        where = "gpu" if dla_core is None else f"dla{dla_core}"
        self.identity = f"tensorrt {tensorrt.__version__} {self._cuda.device} {where}"
        try:
            self._cache = CompiledCache(path, self.identity)
        except OSError as error:
            raise EngineError(f"{path} cannot be read ({error.strerror}): copy the engine again") from None
        _, network = self._parse()
        self._input_shapes = {
            tensor.name: tuple(max(0, side) for side in tensor.shape)
            for tensor in (network.get_input(index) for index in range(network.num_inputs))
        }
        self._signature: Signature = ()
        self._loaded: _Loaded | None = None

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._input_shapes

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        self._cuda.use()
        signature = tuple((name, array.shape) for name, array in inputs.items())
        if self._loaded is None or signature != self._signature:
            self._release()
            self._loaded, self._signature = self._load(inputs, signature), signature
        loaded = self._loaded
        for name, array in inputs.items():
            self._cuda.upload(np.ascontiguousarray(array), loaded.addresses[name], self._stream)
        if not loaded.context.execute_async_v3(self._stream):
            raise EngineError(f"TensorRT could not run {self._path}: its own message stands above")
        for name, output in loaded.outputs.items():
            self._cuda.download(loaded.addresses[name], output, self._stream)
        self._cuda.synchronise(self._stream)
        return dict(loaded.outputs)

    def set_urgent(self, urgent: bool) -> None:
        """As in Graph: by the priority of the stream."""
        self._cuda.use()
        self._cuda.destroy_stream(self._stream)
        self._stream = self._cuda.stream(urgent)

    def _load(self, inputs: Arrays, signature: Signature) -> _Loaded:
        plan = self._cache.read(str(signature))
        engine = self._deserialise(plan) if plan is not None else None
        if engine is None:
            plan = self._build(signature)
            self._cache.write(str(signature), plan)
            engine = self._deserialise(plan)
        if engine is None:
            raise EngineError(
                f"TensorRT cannot load the engine it built of {self._path}: update TensorRT or the driver"
            )
        context = engine.create_execution_context()
        for name, shape in signature:
            context.set_input_shape(name, shape)
        addresses, outputs = {}, {}
        for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
            if name in inputs:
                size = inputs[name].nbytes
            else:
                shape, dtype = tuple(context.get_tensor_shape(name)), tensorrt.nptype(engine.get_tensor_dtype(name))
                outputs[name] = np.empty(shape, dtype)
                size = outputs[name].nbytes
            addresses[name] = self._cuda.allocate(size)
            context.set_tensor_address(name, addresses[name])
        return _Loaded(context, addresses, outputs)

    def _deserialise(self, plan: bytes) -> Any:
        """The engine; None for a plan of another build of the same release."""
        return tensorrt.Runtime(self._logger).deserialize_cuda_engine(plan)

    def _parse(self) -> tuple[Any, Any]:
        builder = tensorrt.Builder(self._logger)
        # TensorRT 10 knows no other kind of network and may have dropped the flag.
        explicit = getattr(tensorrt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        network = builder.create_network(0 if explicit is None else 1 << int(explicit))
        parser = tensorrt.OnnxParser(network, self._logger)
        if not parser.parse(self._path.read_bytes()):
            reason = parser.get_error(0).desc() if parser.num_errors else "unknown"
            raise EngineError(f"{self._path} cannot be read as a graph ({reason}): copy the engine again")
        return builder, network

    def _build(self, signature: Signature) -> bytes:
        builder, network = self._parse()
        config = builder.create_builder_config()
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        for flag in (tensorrt.BuilderFlag.INT8, tensorrt.BuilderFlag.FP16):
            config.set_flag(flag)
        if self._dla_core is not None:
            if self._dla_core >= builder.num_DLA_cores:
                raise EngineError(f"there is no DLA {self._dla_core} on {self._cuda.device}: choose backend tensorrt")
            config.default_device_type = tensorrt.DeviceType.DLA
            config.DLA_core = self._dla_core
            config.set_flag(tensorrt.BuilderFlag.GPU_FALLBACK)  # a DLA knows only some of the layers
        profile = builder.create_optimization_profile()
        for name, shape in signature:
            profile.set_shape(name, shape, shape, shape)
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineError(
                f"TensorRT cannot build {self._path} for inputs of {dict(signature)}: see its message above"
            )
        return bytes(plan)

    def _release(self) -> None:
        """Give the memory of the engine in use back."""
        if self._loaded is not None:
            for address in self._loaded.addresses.values():
                self._cuda.free(address)
            self._loaded = None
