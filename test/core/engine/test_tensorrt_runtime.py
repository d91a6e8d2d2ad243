# SPDX-License-Identifier: Apache-2.0
"""The TensorRT runtime against a stand-in for the library and the driver: shapes, cache, DLA, errors.

It shows that the calls are made as their documentation says; only a GPU can show that the pictures are right.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from muon_ad_core.engine.runtime import choose_backend, open_graph
from muon_ad_core.errors import EngineError


class StandInCuda:
    """Addresses are numbers, memory of the GPU is a dictionary."""

    device = "Stand-in (8.7)"
    memory: dict[int, np.ndarray]

    def __init__(self) -> None:
        self.memory, self.next, self.streams = {}, 1, []

    def use(self) -> None: ...

    def stream(self, urgent: bool) -> int:
        self.streams.append(urgent)
        return len(self.streams)

    def destroy_stream(self, stream: int) -> None: ...

    def synchronise(self, stream: int) -> None: ...

    def allocate(self, size: int) -> int:
        self.next += 1
        self.memory[self.next] = np.zeros(size, np.uint8)
        return self.next

    def free(self, address: int) -> None:
        del self.memory[address]

    def upload(self, array: np.ndarray, address: int, stream: int) -> None:
        self.memory[address][:] = np.frombuffer(array.tobytes(), np.uint8)

    def download(self, address: int, array: np.ndarray, stream: int) -> None:
        array[...] = np.frombuffer(self.memory[address].tobytes(), array.dtype).reshape(array.shape)


class Library:
    """A tensorrt module for graphs that add one to `x`; counts what was built."""

    def __init__(self) -> None:
        self.built: list[dict[str, Any]] = []
        self.cuda: StandInCuda | None = None

    def module(self) -> SimpleNamespace:
        tensor = SimpleNamespace(name="x", shape=(-1, 2))
        network = SimpleNamespace(num_inputs=1, get_input=lambda index: tensor)

        def builder(logger: object) -> SimpleNamespace:
            return SimpleNamespace(
                num_DLA_cores=1, create_network=lambda flags: network, create_builder_config=self._config,
                create_optimization_profile=lambda: SimpleNamespace(set_shape=self._shape),
                build_serialized_network=lambda network, config: repr(self.built[-1]).encode(),
            )  # fmt: skip

        def parser(network: object, logger: object) -> SimpleNamespace:
            error = SimpleNamespace(desc=lambda: "no protobuf")
            return SimpleNamespace(parse=lambda data: data == b"graph", num_errors=1, get_error=lambda index: error)

        names = {"EXPLICIT_BATCH": 0, "INT8": "int8", "FP16": "fp16", "GPU_FALLBACK": "fallback", "DLA": "dla"}
        flags = SimpleNamespace(**names, WORKSPACE="workspace")
        logger = SimpleNamespace(ERROR=0)
        return SimpleNamespace(
            __version__="10.3", Logger=type("Logger", (), {"ERROR": 0, "__init__": lambda self, level: None}),
            Builder=builder, OnnxParser=parser, NetworkDefinitionCreationFlag=flags, BuilderFlag=flags,
            MemoryPoolType=flags, DeviceType=flags, nptype=lambda dtype: np.float32, logger=logger,
            Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda plan: self._engine()),
        )  # fmt: skip

    def _config(self) -> SimpleNamespace:
        self.built.append({"flags": []})
        return SimpleNamespace(
            set_flag=self.built[-1]["flags"].append, set_memory_pool_limit=lambda pool, size: None,
            add_optimization_profile=lambda profile: None,
        )  # fmt: skip

    def _shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.built[-1][name] = shapes

    def _engine(self) -> SimpleNamespace:
        addresses: dict[str, int] = {}
        shapes: dict[str, tuple[int, ...]] = {}

        def execute(stream: int) -> bool:
            assert self.cuda is not None
            x = self.cuda.memory[addresses["x"]].view(np.float32)
            self.cuda.memory[addresses["y"]].view(np.float32)[:] = x + 1
            return True

        context = SimpleNamespace(
            set_input_shape=shapes.__setitem__, get_tensor_shape=lambda name: shapes["x"],
            set_tensor_address=addresses.__setitem__, execute_async_v3=execute,
        )  # fmt: skip
        return SimpleNamespace(
            num_io_tensors=2, get_tensor_name=lambda index: "xy"[index], get_tensor_dtype=lambda name: "float",
            create_execution_context=lambda: context,
        )  # fmt: skip


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    library = Library()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", library.module())
    name = "muon_ad_core.engine.tensorrt_runtime"
    monkeypatch.delitem(sys.modules, name, raising=False)
    runtime = importlib.import_module(name)

    def cuda() -> StandInCuda:
        library.cuda = StandInCuda()
        return library.cuda

    monkeypatch.setattr(runtime, "Cuda", cuda)
    return library


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"graph")
    return path


def open_with(library: Library, path: Path, dla_core: int | None = None) -> Any:
    return sys.modules["muon_ad_core.engine.tensorrt_runtime"].TensorRtGraph(path, dla_core)


def test_results_and_memory_of_changing_shapes(library: Library, graph_file: Path) -> None:
    graph = open_with(library, graph_file)
    assert graph.input_shapes == {"x": (0, 2)}
    for rows in (1, 3, 3, 1):
        x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        assert np.array_equal(graph.run({"x": x})["y"], x + 1)
    assert library.cuda is not None
    assert len(library.cuda.memory) == 2  # only what the latest shapes need
    assert [entry["x"] for entry in library.built] == [((1, 2),) * 3, ((3, 2),) * 3]
    graph.set_urgent(True)
    assert library.cuda.streams == [False, True]


def test_engines_come_back_from_the_cache_of_that_device(library: Library, graph_file: Path) -> None:
    x = np.zeros((1, 2), np.float32)
    open_with(library, graph_file).run({"x": x})
    open_with(library, graph_file).run({"x": x})
    assert len(library.built) == 1
    open_with(library, graph_file, 0).run({"x": x})
    assert len(library.built) == 2
    assert "fallback" in library.built[1]["flags"] and "fallback" not in library.built[0]["flags"]


def test_what_cannot_be_used_gets_one_sentence(library: Library, graph_file: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no DLA 1 on Stand-in"):
        open_with(library, graph_file, 1).run({"x": np.zeros((1, 2), np.float32)})
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"other")
    with pytest.raises(EngineError, match=r"broken\.onnx cannot be read as a graph \(no protobuf\)"):
        open_with(library, broken)


def test_without_tensorrt_the_backend_is_refused(graph_file: Path) -> None:
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    for backend in ("tensorrt", "tensorrt_dla0"):
        with pytest.raises(EngineError, match="needs TensorRT and an NVIDIA GPU"):
            choose_backend(backend)
        with pytest.raises(EngineError, match="needs TensorRT and an NVIDIA GPU"):
            open_graph(graph_file, backend)
