# SPDX-License-Identifier: Apache-2.0
"""INT8 graphs: explicit Q/DQ, symmetric, per channel, and close to the float graph in every runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
onnx = pytest.importorskip("onnx", reason="the making wing needs onnx")

from muon_ad_core.compress.export import count_macs, export_onnx  # noqa: E402
from muon_ad_core.compress.quantise import quantise  # noqa: E402
from muon_ad_core.engine.int8_weights import fit_16_bits  # noqa: E402
from muon_ad_core.engine.runtime import available_backends, open_graph  # noqa: E402


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1, padding_mode="replicate"),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 4, 5, padding=1, padding_mode="reflect"),
    )
    folder = tmp_path_factory.mktemp("graphs")
    axes = {"x": {2: "rows", 3: "columns"}, "y": {2: "out_rows", 3: "out_columns"}}
    export_onnx(network, {"x": torch.zeros(1, 3, 24, 24)}, ["y"], folder / "float.onnx", axes)
    random = np.random.default_rng(0)
    frames = ({"x": random.normal(size=(1, 3, 24, 24)).astype(np.float32)} for _ in range(40))
    quantise(folder / "float.onnx", folder / "int8.onnx", frames)
    return folder / "float.onnx", folder / "int8.onnx"


def test_weights_are_symmetric_int8_per_channel(graphs: tuple[Path, Path]) -> None:
    model = onnx.load(graphs[1])
    arrays = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    producers = {node.output[0]: node for node in model.graph.node}
    assert model.opset_import[0].version == 17
    assert len(convolutions) == 3
    for node in convolutions:
        assert producers[_beyond_padding(producers, node)].op_type == "DequantizeLinear"
        weight = producers[node.input[1]]
        values, scales, zeros = (arrays[name] for name in weight.input)
        assert values.dtype == np.int8
        assert scales.shape == (values.shape[0],)
        assert not zeros.any()
        assert fit_16_bits(values)


def test_what_repeats_at_the_border_is_repeated_in_integers(graphs: tuple[Path, Path]) -> None:
    model = onnx.load(graphs[1])
    producers = {node.output[0]: node for node in model.graph.node}
    readers = [producers.get(node.input[0]) for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert not [node for node in readers if node is not None and node.op_type == "Pad"]
    padded = [node for node in model.graph.node if node.op_type == "Conv" and producers[node.input[0]].op_type == "Pad"]
    assert len(padded) == 2


def _beyond_padding(producers: dict[str, Any], convolution: Any) -> str:
    maker = producers[convolution.input[0]]
    return maker.input[0] if maker.op_type == "Pad" else convolution.input[0]


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("side", [24, 40])
def test_int8_is_close_to_float(graphs: tuple[Path, Path], backend: str, side: int) -> None:
    x = np.random.default_rng(1).normal(size=(1, 3, side, side)).astype(np.float32)
    expected = open_graph(graphs[0], backend, 1).run({"x": x})["y"].copy()
    found = open_graph(graphs[1], backend, 1).run({"x": x})["y"]
    assert found.shape == (1, 4, side - 2, side - 2)
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).mean()


class ChannelsLast(torch.nn.Module):
    """A convolution of uint8 (B, H, W, 3), other sides padded by other widths."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, (1, 3), padding=(0, 1), padding_mode="replicate")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x.to(torch.float32).permute(0, 3, 1, 2) * (1 / 127.5) - 1)


@pytest.mark.parametrize("backend", available_backends())
def test_an_input_is_transposed_only_for_its_convolution(tmp_path: Path, backend: str) -> None:
    torch.manual_seed(0)
    floating, int8 = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(ChannelsLast(), {"x": torch.zeros(1, 6, 8, 3, dtype=torch.uint8)}, ["y"], floating)
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (1, 6, 8, 3), np.uint8)
    quantise(floating, int8, ({"x": random.integers(0, 256, x.shape, np.uint8)} for _ in range(20)))
    nodes = list(onnx.load(int8).graph.node)
    readers = {name: node.op_type for node in nodes for name in node.input}
    assert [readers[node.output[0]] for node in nodes if node.op_type == "Transpose"] == ["Conv"]
    assert [readers[node.output[0]] for node in nodes if node.op_type == "Pad"] == ["Transpose"]
    expected = open_graph(floating, backend, 1).run({"x": x})["y"].copy()
    np.testing.assert_allclose(open_graph(int8, backend, 1).run({"x": x})["y"], expected, atol=0.05)


class Bytes(torch.nn.Module):
    """Two convolutions of uint8 (B, H, W, 4) as it is, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(4, 8, 3), torch.nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = torch.relu(self.first(x.permute(0, 3, 1, 2).to(torch.float32)))
        return torch.cat([found.flatten(2), self.second(found).flatten(2)], dim=2)


@pytest.mark.parametrize("backend", available_backends())
def test_bytes_that_are_rounded_as_they_are_keep_their_scale(tmp_path: Path, backend: str) -> None:
    torch.manual_seed(0)
    floating, int8 = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    network = Bytes()
    with torch.no_grad():
        network.first.weight /= 255  # folded into the weights, as in a detector
    export_onnx(network, {"x": torch.zeros(1, 8, 8, 4, dtype=torch.uint8)}, ["y"], floating)
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (1, 8, 8, 4), np.uint8)
    quantise(floating, int8, ({"x": random.integers(0, 256, x.shape, np.uint8)} for _ in range(20)))
    expected = open_graph(floating, backend, 1).run({"x": x})["y"].copy()
    np.testing.assert_allclose(open_graph(int8, backend, 1).run({"x": x})["y"], expected, atol=0.05)


def test_macs_of_convolutions_and_linear_layers() -> None:
    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
            self.linear = torch.nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.convolution(x).mean((2, 3)))

    assert count_macs(Both(), {"x": torch.zeros(1, 3, 10, 12)}) == 10 * 12 * 8 * 27 + 40
