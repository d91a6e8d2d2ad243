# SPDX-License-Identifier: Apache-2.0
"""INT8 graphs on processors whose INT8 convolutions may overflow: x86 without VNNI, also emulated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="of what OpenVINO does without VNNI")

from muon_ad_core.engine.openvino_runtime import OpenVinoGraph, computes_any_int8
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.machine import Machine

EMULATOR = shutil.which("qemu-x86_64")
SCRIPT = """
import sys
from pathlib import Path
from muon_ad_core.machine import Machine
Machine.processor_flags = lambda self: set(sys.argv[2].split())  # the emulator shows those of this machine
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import open_graph
from muon_ad_core.engine.self_check import check_graph
from muon_ad_core.errors import EngineError
package = EnginePackage.load(find_engine(sys.argv[1]))
level = package.levels[0]
try:
    check_graph(package, level, open_graph(Path(sys.argv[3]), "openvino", 1))
    print("right")
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"sse4_1", "avx2", "fma"}, False),
        ({"sse4_1", "avx2", "avx512f"}, False),
        ({"sse4_1", "avx2", "avx_vnni"}, True),
        ({"sse4_1", "avx2", "avx512f", "avx512_vnni"}, True),
        ({"asimd", "asimddp"}, True),
    ],
)
def test_what_a_processor_must_have(monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: bool) -> None:
    monkeypatch.setattr(Machine, "processor_flags", lambda self: flags)
    assert computes_any_int8() is expected


@pytest.mark.parametrize(("largest", "fits"), [(64, True), (127, False)])
@pytest.mark.parametrize("flags", [{"sse4_1", "avx2"}, {"sse4_1", "avx2", "avx512_vnni"}])
def test_int8_that_could_overflow_is_computed_in_floating_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: set[str], largest: int, fits: bool
) -> None:
    onnx = pytest.importorskip("onnx", reason="changes a graph's weights")
    package = EnginePackage.load(find_engine("student"))
    graph = onnx.load(package.path(package.levels[0].graph))
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tensor.dims, largest, np.int8), tensor.name))
    onnx.save(graph, tmp_path / "graph.onnx")
    monkeypatch.setattr(Machine, "processor_flags", lambda self: flags)
    identity = OpenVinoGraph(tmp_path / "graph.onnx", 1).identity
    assert ("LP_TRANSFORMS_MODE" in identity) == (not fits and "avx512_vnni" not in flags)


@pytest.mark.parametrize("name", ["student", "detector", "detector_pruned"])
def test_what_ships_is_computed_in_int8_everywhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(Machine, "processor_flags", lambda self: {"sse4_1", "avx2"})
    package = EnginePackage.load(find_engine(name))
    for level in package.levels:
        assert "LP_TRANSFORMS_MODE" not in OpenVinoGraph(package.path(level.graph), 1).identity


@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-x86_64 (Debian: qemu-user), which emulates a processor")
@pytest.mark.parametrize("name", ["student", "detector"])
def test_int8_comes_out_right(tmp_path: Path, name: str) -> None:
    package = EnginePackage.load(find_engine(name))
    assert "right" in emulated(name, "sse4_1 avx2", package.path(package.levels[0].graph), tmp_path)


@pytest.mark.skipif(EMULATOR is None, reason="needs qemu-x86_64 (Debian: qemu-user), which emulates a processor")
@pytest.mark.parametrize(
    ("flags", "expected"), [("sse4_1 avx2", "right"), ("sse4_1 avx2 avx_vnni", "computes level fast of student")]
)
def test_int8_that_overflows_is_refused(tmp_path: Path, flags: str, expected: str) -> None:
    """The second run is told that the processor has VNNI: what it then computes wrongly is found by the self-check."""
    package = EnginePackage.load(find_engine("student"))
    write_widened(package.path(package.levels[0].graph), tmp_path / "graph.onnx")
    assert expected in emulated("student", flags, tmp_path / "graph.onnx", tmp_path)


def emulated(name: str, flags: str, graph: Path, folder: Path) -> str:
    """What the self-check says of a graph of an engine on an emulated Haswell, told that it has these flags."""
    assert EMULATOR is not None
    command = [EMULATOR, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", SCRIPT, name, flags, str(graph)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_widened(source: Path, target: Path) -> None:
    """A graph that computes the same, with weights up to 127 in every output: as older releases wrote them."""
    onnx = pytest.importorskip("onnx", reason="changes a graph's weights")
    graph = onnx.load(source)
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    for node in graph.graph.node:
        weights = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if weights is None or len(weights.dims) != 4:
            continue
        values, scales = (onnx.numpy_helper.to_array(constants[name]) for name in node.input[:2])
        factors = 127 / np.abs(values.astype(int)).max(axis=(1, 2, 3))
        wide = np.rint(values * factors[:, None, None, None]).astype(np.int8)
        weights.CopyFrom(onnx.numpy_helper.from_array(wide, weights.name))
        narrow = (scales / factors).astype(np.float32)
        constants[node.input[1]].CopyFrom(onnx.numpy_helper.from_array(narrow, node.input[1]))
    onnx.save(graph, target)
