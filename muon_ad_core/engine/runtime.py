# SPDX-License-Identifier: Apache-2.0
"""One interface to the libraries that execute ONNX graphs, and the choice among them by what the machine has."""

from __future__ import annotations

import importlib.util
import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from muon_ad_core.errors import EngineError

Arrays = Mapping[str, np.ndarray]
# Backend -> the module that must be importable for it.
BACKENDS = {"openvino": "openvino", "onnxruntime": "onnxruntime"}
# Never chosen by "auto".
BACKENDS_ON_REQUEST = {"torch": "torch", "tensorrt_dla0": "tensorrt", "tensorrt_dla1": "tensorrt"}
TENSORRT = "tensorrt"
NCNN_SUFFIX = ".param"
"""Files of ncnn's own format, which no other library reads."""


class Graph(ABC):
    """A loaded graph. Inputs and outputs are C-contiguous arrays by name; every input shape is compiled once."""

    backend: str
    identity: str = ""
    """Library, its version, processor and settings in words, where compiled forms are kept by them; else empty."""

    @property
    @abstractmethod
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input as the file gives it, 0 where it leaves a side open; () where the file has no shapes."""

    @abstractmethod
    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Execute once. The results are valid until the next run with inputs of the same shapes."""

    def set_urgent(self, urgent: bool) -> None:  # noqa: B027, a CPU has nothing to set here
        """Whether this process's work goes before others' on a shared accelerator; no effect on a CPU, where the
        process's scheduling policy decides."""


def available_backends() -> list[str]:
    """Installed backends, the best for this machine first.

    TensorRT leads where there is an NVIDIA GPU, OpenVINO on x86-64, where it reaches the int8 matrix units; elsewhere
    ONNX Runtime does.
    """
    found = [name for name, module in BACKENDS.items() if importlib.util.find_spec(module)]
    if platform.machine() not in ("x86_64", "AMD64"):
        found.reverse()
    return ([TENSORRT] if _has_tensorrt() else []) + found


def _has_tensorrt() -> bool:
    if not importlib.util.find_spec(TENSORRT):
        return False
    from muon_ad_core.engine.cuda import device_count

    return device_count() > 0


def choose_backend(asked: str) -> str:
    """The backend to use for "auto" or a name; raises EngineError when it is unknown or not installed."""
    available = available_backends()
    if asked == "auto":
        if not available:
            raise EngineError("no runtime for engines is installed: pip install openvino (or onnxruntime)")
        return available[0]
    if asked in BACKENDS_ON_REQUEST and importlib.util.find_spec(BACKENDS_ON_REQUEST[asked]):
        return asked
    known = [*BACKENDS, TENSORRT, *BACKENDS_ON_REQUEST]
    if asked not in known:
        raise EngineError(f"unknown backend '{asked}': choose auto, {', '.join(known)}")
    if asked.startswith(TENSORRT) and asked not in available:
        raise EngineError(f"backend '{asked}' needs TensorRT and an NVIDIA GPU, which are not here: choose auto")
    if asked not in available:
        raise EngineError(f"backend '{asked}' is not installed: pip install {asked}, or choose auto")
    return asked


def preload_backend() -> None:
    """Load the library that "auto" chooses, so that the first graph need not wait for it; nothing without one."""
    if available_backends()[:1] == ["openvino"]:
        from muon_ad_core.engine.openvino_runtime import load_library

        load_library()
    elif available_backends()[:1] == ["onnxruntime"]:
        importlib.import_module("muon_ad_core.engine.onnxruntime_runtime")


def open_graph(path: Path, backend: str = "auto", threads: int = 0, of_pictures: bool = False) -> Graph:
    """Load an ONNX graph, or one in ncnn's format (.param, and .bin beside it), which only ncnn runs.

    threads: CPU threads, 0 for as many as there are cores; of_pictures: outputs are pictures, so that what is not INT8
    may be rounded more coarsely where that is faster, unlike coordinates or codes. Raises EngineError when the backend
    cannot read the file.
    """
    if path.suffix == NCNN_SUFFIX:
        return _open_ncnn(path, backend, threads)
    chosen = choose_backend(backend)
    if chosen.startswith(TENSORRT):
        return _open_tensorrt(path, chosen)
    if chosen == "openvino":
        from muon_ad_core.engine.openvino_runtime import OpenVinoGraph, picture_precision

        return OpenVinoGraph(path, threads, picture_precision() if of_pictures else "f32")
    if chosen == "torch":
        try:
            from muon_ad_core.engine.torch_runtime import TorchGraph
        except ImportError as error:
            raise EngineError(f"backend 'torch' cannot be used ({error}): pip install torch onnx") from None
        return TorchGraph(path, threads)
    from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph

    return OnnxRuntimeGraph(path, threads)


def _open_tensorrt(path: Path, backend: str) -> Graph:
    try:
        from muon_ad_core.engine.tensorrt_runtime import TensorRtGraph
    except ImportError as error:
        raise EngineError(f"TensorRT cannot be used ({error}): choose another backend") from None
    dla = backend.removeprefix(f"{TENSORRT}_dla")
    return TensorRtGraph(path, int(dla) if dla.isdecimal() else None)


def _open_ncnn(path: Path, backend: str, threads: int) -> Graph:
    if backend not in ("auto", "ncnn"):
        raise EngineError(f"{path} is of ncnn's own format, which backend '{backend}' cannot read: choose auto")
    if not importlib.util.find_spec("ncnn"):
        raise EngineError(f"{path} needs ncnn, which is not installed: pip install ncnn")
    from muon_ad_core.engine.ncnn_runtime import NcnnGraph

    return NcnnGraph(path, threads)
