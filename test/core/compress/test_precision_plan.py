# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: sensitive convolutions stay in floating point, as few as the wanted fidelity needs."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
onnx = pytest.importorskip("onnx", reason="the making wing needs onnx")

from muon_ad_core.compress.export import export_onnx, layer_macs  # noqa: E402
from muon_ad_core.compress.precision_plan import convolution_work, plan_precision  # noqa: E402
from muon_ad_core.compress.quantise import CalibratedGraph  # noqa: E402
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph  # noqa: E402

SHAPE = (1, 3, 24, 24)


class Uneven(torch.nn.Module):
    """The second convolution sees one channel a thousand times larger than the others: one range serves them badly."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.third = torch.nn.Conv2d(8, 4, 3, stride=2)
        self.register_buffer("scale", torch.tensor([1000.0] + [1.0] * 7)[None, :, None, None])
        with torch.no_grad():
            self.second.weight[:, 0] /= 1000

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(torch.relu(self.second(torch.relu(self.first(x)) * self.scale)))


@pytest.fixture(scope="module")
def network() -> Uneven:
    return Uneven().eval()


@pytest.fixture
def calibrated(network: Uneven, tmp_path: Path) -> CalibratedGraph:
    axes = {"x": {2: "rows", 3: "columns"}, "y": {2: "out_rows", 3: "out_columns"}}
    export_onnx(network, {"x": torch.zeros(SHAPE)}, ["y"], tmp_path / "float.onnx", axes)
    random = np.random.default_rng(0)
    frames = ({"x": random.normal(size=SHAPE).astype(np.float32)} for _ in range(8))
    return CalibratedGraph(tmp_path / "float.onnx", tmp_path, frames)


def judge(network: Uneven) -> object:
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()

    def fidelity(path: Path) -> float:
        found = OnnxRuntimeGraph(path, 1).run({"x": x})["y"]
        return 1 - float(np.abs(found - expected).mean() / np.abs(expected).mean())

    return fidelity


def test_the_sensitive_layer_stays_in_floating_point(
    network: Uneven, calibrated: CalibratedGraph, tmp_path: Path
) -> None:
    fidelity = judge(network)
    work = convolution_work(tmp_path / "float.onnx", {"x": SHAPE})
    everything = plan_precision(calibrated, fidelity, work, 0.0, tmp_path)
    assert everything.kept == () and everything.fidelity < 0.95
    plan = plan_precision(calibrated, fidelity, work, 0.97, tmp_path)
    assert plan.kept == ("/second/Conv",)
    assert plan.fidelity >= 0.97
    assert max(plan.losses, key=lambda name: plan.losses[name]) == "/second/Conv"


def test_only_the_chosen_convolutions_are_int8(calibrated: CalibratedGraph, tmp_path: Path) -> None:
    assert calibrated.convolutions == ["/first/Conv", "/second/Conv", "/third/Conv"]
    calibrated.write(tmp_path / "mixed.onnx", ["/first/Conv", "/third/Conv"])
    nodes = onnx.load(tmp_path / "mixed.onnx").graph.node
    producers = {node.output[0]: node.op_type for node in nodes}
    int8 = [
        node.name for node in nodes if node.op_type == "Conv" and producers.get(node.input[1]) == "DequantizeLinear"
    ]
    assert int8 == ["/first/Conv", "/third/Conv"]


def test_a_goal_out_of_reach_keeps_everything(network: Uneven, calibrated: CalibratedGraph, tmp_path: Path) -> None:
    work = dict.fromkeys(calibrated.convolutions, 1)
    plan = plan_precision(calibrated, judge(network), work, 1.1, tmp_path)
    assert set(plan.kept) == set(calibrated.convolutions)
    assert plan.fidelity == pytest.approx(1, abs=1e-5)


def test_work_is_counted_as_of_the_network(network: Uneven, calibrated: CalibratedGraph, tmp_path: Path) -> None:
    for side in (24, 40):
        expected = layer_macs(network, torch.zeros(1, 3, side, side))
        found = convolution_work(tmp_path / "float.onnx", {"x": (1, 3, side, side)})
        assert found == {f"/{name}/Conv": value for name, value in expected.items()}
