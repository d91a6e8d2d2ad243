# SPDX-License-Identifier: Apache-2.0
"""Runtimes: the choice among them, agreement on the shipped engine, and errors."""

from pathlib import Path

import numpy as np
import pytest

from muon_ad_core.engine import runtime
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import available_backends, choose_backend, open_graph
from muon_ad_core.errors import EngineError
from muon_ad_core.machine import Machine


def test_auto_takes_the_first_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend("auto") == available_backends()[0]
    monkeypatch.setattr(runtime, "BACKENDS", {"openvino": "no_such_module", "onnxruntime": "onnxruntime"})
    assert choose_backend("auto") == "onnxruntime"
    monkeypatch.setattr(runtime, "BACKENDS", {"openvino": "no_such_module"})
    with pytest.raises(EngineError, match="no runtime for engines is installed"):
        choose_backend("auto")


def test_onnx_runtime_leads_off_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.platform, "machine", lambda: "aarch64")
    assert available_backends()[0] == "onnxruntime"


def test_unknown_and_absent_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="unknown backend 'abacus'"):
        choose_backend("abacus")
    monkeypatch.setattr(runtime, "BACKENDS", {"openvino": "no_such_module"})
    with pytest.raises(EngineError, match="backend 'openvino' is not installed"):
        choose_backend("openvino")


@pytest.mark.parametrize("backend", available_backends())
def test_file_that_is_no_graph_gets_one_sentence(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"broken\.onnx cannot be read as a graph") as caught:
        open_graph(path, backend, 1)
    assert "\n" not in str(caught.value)


def test_runtimes_agree_on_the_shipped_student() -> None:
    if len(available_backends()) < 2:
        pytest.skip(f"only {available_backends()} installed: nothing to compare")
    package = EnginePackage.load(find_engine("student"))
    random = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(random.integers(0, 256, (1, 6, 6, 48), dtype=np.uint8), 4, 1), 4, 2)
    code = random.normal(size=(1, package.manifest["code_length"])).astype(np.float32)
    for level in package.levels:
        painted = [
            open_graph(package.path(level.graph), backend, 1, of_pictures=True)
            .run({"pixels": pixels, "code": code})["painted"]
            .copy()
            for backend in available_backends()
        ]
        assert painted[0].dtype == np.uint8
        # Different kernels round differently here and there; the pictures must be the same to the eye.
        assert np.abs(painted[0].astype(int) - painted[1]).mean() < 2


@pytest.mark.parametrize(("flags", "precision"), [({"avx2", "amx_bf16"}, "bf16"), ({"avx2", "avx512_bf16"}, "f32")])
def test_pictures_alone_are_rounded_to_bfloat16_where_matrix_units_write_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], precision: str
) -> None:
    pytest.importorskip("openvino", reason="of OpenVINO's precisions")
    monkeypatch.setattr(Machine, "processor_flags", lambda _: flags)
    package = EnginePackage.load(find_engine("student"))
    path = package.path(package.levels[0].graph)
    assert f"'INFERENCE_PRECISION_HINT': '{precision}'" in open_graph(path, "openvino", 1, of_pictures=True).identity
    assert "'INFERENCE_PRECISION_HINT': 'f32'" in open_graph(path, "openvino", 1).identity


@pytest.mark.parametrize("backend", available_backends())
def test_many_shapes_one_graph(backend: str) -> None:
    package = EnginePackage.load(find_engine("student"))
    graph = open_graph(package.path(package.levels[0].graph), backend, 1)
    code = np.zeros((1, package.manifest["code_length"]), np.float32)
    for rows in (8, 10, 12, 14, 16, 8):
        painted = graph.run({"pixels": np.zeros((1, rows, 8, 48), np.uint8), "code": code})["painted"]
        assert painted.shape[1:3] == (rows, 8)


@pytest.mark.parametrize("backend", available_backends())
def test_inputs_may_be_written_anew_replaced_or_read_only(backend: str) -> None:
    package = EnginePackage.load(find_engine("student"))
    graph = open_graph(package.path(package.levels[0].graph), backend, 1)
    code = np.zeros((1, package.manifest["code_length"]), np.float32)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8, 48), dtype=np.uint8)
    expected = [graph.run({"pixels": picture, "code": code})["painted"].copy() for picture in pictures]
    assert not np.array_equal(expected[0], expected[1])
    same = np.empty_like(pictures[0])
    for picture, painted in zip(pictures, expected):
        same[:] = picture
        assert np.array_equal(graph.run({"pixels": same, "code": code})["painted"], painted)
    behind = same.copy()
    locked = behind.view()
    locked.flags.writeable = False
    for picture, painted in zip(pictures, expected):
        behind[:] = picture
        assert np.array_equal(graph.run({"pixels": locked, "code": code})["painted"], painted)
