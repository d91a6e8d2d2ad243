# SPDX-License-Identifier: Apache-2.0
"""The quality benchmark on the shipped student: likeness, and style beside peers, with made pictures and weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core import cli
from muon_ad_core.bench.result_file import read_document
from muon_ad_core.bench.style_contenders import mixed
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import EngineError
from muon_ad_core.metrics.mesh import lattice, mesh

RATIOS = (
    "swd_ratio_johnson",
    "style_ratio_johnson",
    "trained_style_ratio_johnson",
    "content_ratio_johnson",
    "warp_ratio_johnson",
    "frame_warp_ratio_johnson",
)
UNSEEN_RATIOS = ("unseen_ratio", "unseen_style_ratio", "refined_unseen_ratio", "refined_unseen_style_ratio")
OTHERS = ("lattice", "mesh", *UNSEEN_RATIOS)


@pytest.fixture(scope="module")
def shipped() -> list[str]:
    try:
        package = EnginePackage.load(find_engine("student"))
    except EngineError as error:
        pytest.skip(str(error))
    return [style["name"] for style in package.manifest["styles"]]


def test_every_style_is_measured_and_shown(shipped: list[str], tmp_path: Path) -> None:
    assert cli.main(["bench", "quality", "--size", "160x120", "--json", str(tmp_path / "quality.json")]) == 0
    document = read_document(tmp_path / "quality.json")
    summary = document["summary"]
    assert 0.0 < summary["ssim"] < 1.0 and summary["psnr"] > 0.0
    assert summary["image_time_s"] > 0.0 and summary["parameters"] > 0
    assert len(document["samples"]["ssim"]["runs"][0]) == len(document["config"]["photographs"]) * len(shipped)
    assert document["pictures"][0]["caption"].count(",") == len(shipped)


def test_peers_are_compared_at_equal_content(shipped: list[str], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the judging network needs PyTorch")
    pytest.importorskip("onnx", reason="the peers are exported by PyTorch and onnx")
    weights = _weights(tmp_path / "features.safetensors")
    random = np.random.default_rng(0)
    for folder, names in (("styles", shipped[:3]), ("unseen", ["one", "two"])):
        (tmp_path / folder).mkdir()
        for name in names:
            spots = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = cv2.resize(spots, (160, 120), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), picture)
    for name in shipped[:2]:
        _export_peer(tmp_path / "johnson" / name, torch)
    command = ["bench", "quality", "--size", "160x120", "--count", "1", "--frames", "2", "--styles",
               str(tmp_path / "styles"), "--unseen", str(tmp_path / "unseen"), "--johnson", str(tmp_path / "johnson"),
               "--weights", str(weights), "--refine", "2", "--references", "1", "--sheets", str(tmp_path / "sheets"),
               "--json", str(tmp_path / "quality.json")]  # fmt: skip
    assert cli.main(command) == 0
    document = read_document(tmp_path / "quality.json")
    for end in ("_fast", "_fine"):
        assert all(document["summary"][ratio + end] > 0 for ratio in (*RATIOS, *OTHERS))
    for name in ("palette", "optimum"):
        assert all(document["summary"][f"{ratio}_{name}"] > 0 for ratio in UNSEEN_RATIOS[:2])
    assert set(document["results"]["references"]) == {"shipped", "unseen", "refined_unseen"}
    warping = document["results"]["warping_errors"]["emulated pan"]
    assert {"Muon-AD fast smoothed", "Muon-AD fine smoothed"} < set(warping)
    assert warping["Muon-AD fine smoothed"] < warping["Muon-AD fine"]
    rows = document["results"]["contenders"]
    judges = ("sliced_wasserstein", "style_distance[detector]", "style_distance[squeeze]")
    at_equal_content = [rows["Muon-AD fast"][f"{judge}, by Johnson's at equal content"] for judge in judges]
    assert at_equal_content == [document["summary"][f"{ratio}_fast"] for ratio in RATIOS[:3]]
    levels = {f"Muon-AD {level.name}" for level in EnginePackage.load(find_engine("student")).levels}
    assert levels | {"Johnson", "palette", "photograph"} == set(rows)
    assert rows["photograph"]["content"] == 0 and rows["photograph"]["ssim"] == pytest.approx(1)
    assert rows["photograph"]["sliced_wasserstein, left"] == pytest.approx(1)
    assert rows["palette"]["sliced_wasserstein, left"] < 1
    styles = document["results"]["by_style"]
    assert set(styles) == {*shipped[:2], "one", "two", "one refined", "two refined"}
    for measure in ("content", "mesh", "sliced_wasserstein, left"):
        means = [styles[style]["Johnson"][measure] for style in shipped[:2]]
        assert np.mean(means) == pytest.approx(rows["Johnson"][measure]) and means[0] != means[1]
    assert len(list((tmp_path / "sheets").glob("*.jpg"))) == len(document["pictures"]) > 2


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--engine", "no_such_engine"], "no_such_engine"),
        (["--styles", "folder"], "--styles needs --weights"),
        (["--styles", "folder", "--weights", "file", "--size", "60x480"], "--size must be at least 64x64"),
        (["--johnson", "folder"], "--johnson needs --styles"),
        (["--count", "0"], "--count must be at least 1"),
        (["--smoothing", "2"], "--smoothing must be from 0 to 1"),
        (["--size", "wide"], "--sizes must be like 640x480"),
    ],
)
def test_mistakes_get_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    assert cli.main(["bench", "quality", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_mesh_is_told_from_a_photograph() -> None:
    random = np.random.default_rng(0)
    smooth = cv2.resize(random.integers(60, 200, (4, 4, 3), dtype=np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    mesh = np.tile(random.integers(-10, 11, (8, 8, 3)), (12, 12, 1))
    meshed = np.clip(smooth.astype(int) + mesh, 0, 255).astype(np.uint8)
    assert lattice(np.full((48, 48, 3), 90, np.uint8)) == 0
    assert lattice(meshed) > lattice(smooth) + 0.01
    with pytest.raises(ValueError, match="48 x 48"):
        lattice(smooth[:40])


@pytest.mark.parametrize("period", [(5.1, 0.0), (4.8, -5.2), (0.0, 11.0)])
def test_a_mesh_of_any_period_is_told_from_grain(period: tuple[float, float]) -> None:
    random = np.random.default_rng(0)
    grain = random.normal(128, 12, (128, 160, 3))
    rows, columns = np.mgrid[:128, :160]
    phase = sum(2 * np.pi * place / length for place, length in zip((rows, columns), period) if length)
    woven = grain + 6 * np.cos(phase)[..., None]
    assert mesh(np.full((64, 64, 3), 90, np.uint8)) < 1e-9
    assert mesh(grain.astype(np.uint8)) < 0.2
    assert mesh(woven.astype(np.uint8)) > 2 * mesh(grain.astype(np.uint8))
    with pytest.raises(ValueError, match="64 x 64"):
        mesh(grain[:40].astype(np.uint8))


def test_a_share_of_a_picture_is_mixed_in() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert (mixed(black, white, 0.0) == 0).all() and (mixed(black, white, 1.0) == 255).all()
    assert (mixed(black, white, 0.2) == 51).all()


def _weights(path: Path) -> Path:
    """A feature network with random weights."""
    import torch
    from safetensors.torch import save_file

    from muon_ad_core.distill.features import SqueezeNetFeatures

    torch.manual_seed(0)
    save_file({k: v for k, v in SqueezeNetFeatures().state_dict().items() if k.startswith("features.")}, path)
    return path


def _export_peer(stem: Path, torch: object) -> None:
    """A network in a trained one's place."""
    from torch import nn

    from muon_ad_core.compress.frame_graphs import export_frame_network

    stem.parent.mkdir(exist_ok=True)
    convolution = nn.Conv2d(3, 3, 3, padding=1)
    export_frame_network(nn.Sequential(convolution), stem, [np.full((1, 32, 32, 3), 90, np.uint8)] * 2)
