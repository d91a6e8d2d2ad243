# SPDX-License-Identifier: Apache-2.0
"""Backend torch: agrees with ONNX Runtime on the shipped engines; on a GPU, replays what it captured."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import available_backends, open_graph
from muon_ad_core.errors import EngineError
from muon_ad_core.stylize import Stylizer

torch = pytest.importorskip("torch", reason="torch is not installed: it is only needed for backend torch")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: it is only needed for backend torch")


def picture() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:120, :160])


def test_a_stylised_picture_is_that_of_onnx_runtime() -> None:
    package = EnginePackage.load(find_engine("student"))
    ours, reference = Stylizer(package, "torch"), Stylizer(package, "onnxruntime")
    for level in ours.levels():
        ours.set_level(level)
        reference.set_level(level)
        difference = np.abs(ours.run(picture()).astype(int) - reference.run(picture()))
        assert difference.mean() < 1.0, level
        assert np.percentile(difference, 99) <= 4, level


def test_an_encoded_style_is_that_of_onnx_runtime() -> None:
    package = EnginePackage.load(find_engine("student"))
    graphs = [open_graph(package.path(package.manifest["encoder"]), backend) for backend in ("torch", "onnxruntime")]
    side = package.manifest["encoder_size"]
    view = np.ascontiguousarray(data.astronaut()[:side, :side])[None]
    ours, reference = (graph.run({"picture": view})["code"] for graph in graphs)
    np.testing.assert_allclose(ours, reference, atol=1e-3)


def test_detections_are_those_of_onnx_runtime() -> None:
    package = EnginePackage.load(find_engine("detector"))
    path = package.path(package.levels[0].graph)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 40, 48), dtype=np.uint8)
    ours, reference = (open_graph(path, backend).run({"pixels": pixels}) for backend in ("torch", "onnxruntime"))
    assert ours.keys() == reference.keys()
    for name in ours:
        assert np.abs(ours[name] - reference[name]).mean() < 0.05 * np.abs(reference[name]).mean()


def test_a_changed_urgency_changes_no_result() -> None:
    package = EnginePackage.load(find_engine("student"))
    stylizer = Stylizer(package, "torch")
    before = stylizer.run(picture()).copy()
    stylizer.set_urgent(False)
    assert np.array_equal(stylizer.run(picture()), before)


def test_it_is_never_chosen_by_itself() -> None:
    assert "torch" not in available_backends()


def test_an_operator_it_lacks_is_named(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Tan", ["x"], ["y"])
    shape = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    path = tmp_path / "tan.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "tan", [shape], [result])), path)
    with pytest.raises(EngineError, match="uses Tan"):
        open_graph(path, "torch")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: capture and stream priority are not run")
def test_on_a_gpu_frames_replay_one_captured_graph() -> None:
    stylizer = Stylizer(EnginePackage.load(find_engine("student")), "torch")
    first, other = picture(), np.ascontiguousarray(picture()[::-1])
    expected = stylizer.run(first).copy()
    assert not np.array_equal(stylizer.run(other), expected)
    assert np.array_equal(stylizer.run(first), expected)
