# SPDX-License-Identifier: Apache-2.0
"""`muon-ad train johnson`: a graph for each style, which paints as the trained network does, and is not made twice."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
pytest.importorskip("onnx", reason="the making wing needs onnx")

from torch import nn  # noqa: E402

from muon_ad_core.bench.style_contenders import johnson_networks  # noqa: E402
from muon_ad_core.bench.style_peers import int8_graph, trained_johnson  # noqa: E402
from muon_ad_core.cli import main  # noqa: E402
from muon_ad_core.distill import johnson_trainer  # noqa: E402
from muon_ad_core.distill.pictures import read_picture  # noqa: E402
from muon_ad_core.engine.finishing import USUAL, Finisher  # noqa: E402
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph  # noqa: E402
from muon_ad_core.errors import ParameterError  # noqa: E402
from muon_ad_core.nets.peers import ReflectedConvolution, johnson_network  # noqa: E402
from muon_ad_core.palette import USUAL_SHARE, Palette, move_colours  # noqa: E402


def small_network() -> nn.Module:
    """The ends of a Johnson network."""
    return nn.Sequential(
        ReflectedConvolution(3, 8, 9), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), ReflectedConvolution(8, 3, 9)
    )


@pytest.fixture
def command(painting_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two steps of a small network for one style; further styles and options may follow."""
    monkeypatch.setattr(johnson_trainer, "CALIBRATION_FRAMES", 2)
    monkeypatch.setattr(johnson_trainer, "CALIBRATION_SIDE", 64)
    monkeypatch.setattr(johnson_trainer.JohnsonTrainer.__init__, "__defaults__", (small_network,))
    return ["train", "johnson", "--photos", str(painting_data / "photos"), "--styles", str(painting_data / "styles"),
            "--features", str(painting_data / "features.safetensors"), "--run", str(tmp_path), "--steps", "2",
            "--crop", "64", "--ship", "styles_1"]  # fmt: skip


def test_the_command_trains_exports_and_goes_on(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    graphs = trained_johnson(tmp_path / "graphs")
    assert list(graphs) == ["styles_1"] and int8_graph(graphs["styles_1"]).is_file()
    painted = OnnxRuntimeGraph(graphs["styles_1"], 1).run({"frame": np.full((1, 40, 50, 3), 90, np.uint8)})["painted"]
    assert painted.shape == (1, 40, 50, 3) and painted.dtype == np.uint8
    assert json.loads((tmp_path / "graphs/styles_1.json").read_text())["steps_done"] == 2
    assert main([*command, "styles_2"]) == 0
    assert "styles_1: done before" in capsys.readouterr().out
    assert list(trained_johnson(tmp_path / "graphs")) == ["styles_1", "styles_2"]


def test_finished_networks_are_shown_as_students_are(command: list[str], painting_data: Path, tmp_path: Path) -> None:
    assert main([*command, "--finished"]) == 0
    graph = trained_johnson(tmp_path / "graphs")["styles_1"]
    frame = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), (80, 64))
    painted = OnnxRuntimeGraph(graph, 1).run({"frame": frame[None]})["painted"][0].copy()
    wanted = Palette.of(read_picture(next((painting_data / "styles").glob("styles_1.*"))))
    move_colours(painted, Palette.of(painted), wanted, USUAL_SHARE)
    expected = np.empty_like(frame)
    Finisher(USUAL)(painted, frame, frame, expected)
    shown = johnson_networks({"styles_1": graph}, 1).paint(frame, "styles_1")
    np.testing.assert_array_equal(shown, expected)


def test_the_network_in_bytes_paints_the_same() -> None:
    torch.manual_seed(0)
    network = johnson_network().eval()
    pictures = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = network(pictures) * 127.5 + 127.5
        torch.testing.assert_close(
            johnson_trainer.in_bytes(network)(pictures * 127.5 + 127.5), expected, rtol=0, atol=1.0
        )


def test_a_folder_without_graphs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="muon-ad train johnson"):
        trained_johnson(tmp_path)


def test_the_length_must_be_said(painting_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, styles = str(painting_data / "photos"), str(painting_data / "styles")
    arguments = ["--photos", photos, "--styles", styles, "--features", "x", "--run", str(tmp_path)]
    assert main(["train", "johnson", *arguments]) == 2
    assert "--steps or --minutes" in capsys.readouterr().err
