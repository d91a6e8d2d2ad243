# SPDX-License-Identifier: Apache-2.0
"""LPIPS, style distance and extractors. The published figures need the real weights, which are not in the project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muon_ad_core.errors import UserError
from muon_ad_core.metrics.scores import art_fid, harmony, style_score

torch = pytest.importorskip("torch", reason="needs requirements/train.txt")

from safetensors.torch import save_file  # noqa: E402

from muon_ad_core.distill.features import SqueezeNetFeatures  # noqa: E402
from muon_ad_core.metrics.distribution import FrechetScore  # noqa: E402
from muon_ad_core.metrics.extractors import open_extractor  # noqa: E402
from muon_ad_core.metrics.perceptual import LPIPS_TAPS, PerceptualNetwork, load_heads  # noqa: E402

WEIGHTS_VARIABLE = "MUON_AD_SQUEEZENET"  # path of squeezenet1_1.safetensors with ImageNet's weights
WIDTHS = (64, 128, 256, 384, 384, 512, 512)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights and heads of a network that was never trained."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    network = SqueezeNetFeatures()
    save_file({name: value for name, value in network.state_dict().items() if "." in name}, folder / "net.safetensors")
    heads = {f"lin{number}.model.1.weight": torch.rand(1, width, 1, 1) for number, width in enumerate(WIDTHS)}
    torch.save(heads, folder / "heads.pth")
    return folder / "net.safetensors", folder / "heads.pth"


@pytest.fixture(scope="module")
def network(files: tuple[Path, Path]) -> PerceptualNetwork:
    return PerceptualNetwork(*files)


@pytest.fixture(scope="module")
def real_network() -> PerceptualNetwork:
    path = os.environ.get(WEIGHTS_VARIABLE)
    if not path:
        pytest.skip(f"needs ImageNet's SqueezeNet 1.1: name its safetensors file in {WEIGHTS_VARIABLE}")
    return PerceptualNetwork(Path(path))


def test_the_example_of_torchmetrics(real_network: PerceptualNetwork) -> None:
    generator = torch.Generator().manual_seed(42)
    a, b = (torch.rand(2, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    assert real_network.lpips(a, b) == pytest.approx([0.1024, 0.0938], abs=1e-4)


def test_the_older_example_draws_its_pictures_after_building_the_network(real_network: PerceptualNetwork) -> None:
    torch.manual_seed(123)
    classifier = torch.nn.Conv2d
    layers = [*SqueezeNetFeatures().modules(), last := classifier(512, 1000, 1)]
    for layer in layers:  # torchvision's initialisation, which pretrained weights then replace
        if layer is last:
            torch.nn.init.normal_(layer.weight, mean=0.0, std=0.01)
        elif isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_uniform_(layer.weight)
    for width in WIDTHS:
        torch.nn.Conv2d(width, 1, 1, bias=False)
    a, b = (torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2))
    assert real_network.lpips(a, b).mean() == pytest.approx(0.1046, abs=1e-4)


def test_lpips_is_that_of_torchmetrics_on_the_same_features(files: tuple[Path, Path], photographs: Any) -> None:
    """The oracle's own network needs torchvision; its normalisation, heads and mean are compared on our features."""
    oracle = pytest.importorskip("torchmetrics.functional.image.lpips")
    network = PerceptualNetwork(*files)
    a, b = photographs, photographs[::-1].copy()
    found, wanted = (network._features(pictures, LPIPS_TAPS) for pictures in (a, b))
    expected = torch.zeros(len(a))
    for tap, head in zip(LPIPS_TAPS, load_heads(files[1])):
        difference = (oracle._normalize_tensor(found[tap]) - oracle._normalize_tensor(wanted[tap])) ** 2
        expected += oracle._spatial_average((difference * head).sum(1, keepdim=True)).flatten()
    assert network.lpips(a, b) == pytest.approx(expected.numpy(), abs=1e-4)


def test_equal_pictures_are_at_no_distance(network: PerceptualNetwork, photographs: Any) -> None:
    assert network.lpips(photographs, photographs) == pytest.approx(np.zeros(3), abs=1e-7)
    for kind in ("gram", "moments"):
        assert network.style_distance(photographs, photographs, kind) == pytest.approx(np.zeros(3), abs=1e-6)


def test_style_does_not_see_where_things_are_but_content_does(network: PerceptualNetwork, photographs: Any) -> None:
    mirrored = photographs[:, :, ::-1].copy()
    for kind in ("gram", "moments"):
        turned = network.style_distance(mirrored, photographs, kind)
        other = network.style_distance(np.roll(photographs, 1, axis=0), photographs, kind)
        assert np.all(turned < other)
    assert np.all(network.lpips(mirrored, photographs) > 1e-3)


def test_pictures_of_another_size_can_be_the_style(network: PerceptualNetwork, photographs: Any) -> None:
    assert network.style_distance(photographs, photographs[:1, :64, :80]).shape == (3,)


def test_files_that_hold_something_else_are_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no feature network"):
        PerceptualNetwork(tmp_path / "missing.safetensors")
    (tmp_path / "heads.pth").write_bytes(b"none")
    with pytest.raises(UserError, match="does not hold LPIPS heads"):
        load_heads(tmp_path / "heads.pth")


def test_weights_serve_as_extractor(files: tuple[Path, Path], photographs: Any) -> None:
    score = FrechetScore(open_extractor(files[0]))
    assert score.label == "FID[squeeze]"
    score.add_reference(photographs)
    score.add_generated(photographs)
    assert score.distance() == pytest.approx(0.0, abs=1e-6)


def test_an_onnx_graph_serves_as_extractor(tmp_path: Path, photographs: Any) -> None:
    onnx = pytest.importorskip("onnx")
    make = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("GlobalAveragePool", ["x"], ["y"])
    value = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph([node], "g", [make("x", value, ["n", 3, 48, 48])], [make("y", value, None)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "colours.onnx")
    extractor = open_extractor(tmp_path / "colours.onnx")
    assert extractor.name == "colours"
    assert extractor(photographs) == pytest.approx(photographs.mean(axis=(1, 2)) / 255.0, abs=0.01)
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="cannot be read as an ONNX graph"):
        open_extractor(tmp_path / "broken.onnx")


def test_scores() -> None:
    assert art_fid(0.0, 0.0) == 1.0
    assert art_fid(0.5, 3.0) == 6.0
    assert (style_score(2.0, 1.0), style_score(0.0, 1.0), style_score(0.25, 1.0)) == (0.0, 1.0, 0.75)
    assert harmony(1.0, 1.0) == 1.0
    assert harmony(1.0, 0.0) == 0.0
    assert harmony(0.5, 1.0) == pytest.approx(2.0 / 3.0)
