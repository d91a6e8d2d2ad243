# SPDX-License-Identifier: Apache-2.0
"""The student trainer on made pictures and a feature network with random weights: learns, resumes, packages."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from safetensors.torch import save_file  # noqa: E402

from muon_ad_core.distill.features import SqueezeNetFeatures, load_feature_network  # noqa: E402
from muon_ad_core.distill.student_package import write_student_package  # noqa: E402
from muon_ad_core.distill.student_trainer import StudentTrainer, StudentTraining  # noqa: E402
from muon_ad_core.engine.package import EnginePackage  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.nets.student import StudentConfig  # noqa: E402
from muon_ad_core.stylize import Stylizer  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for folder, count in (("photos", 6), ("styles", 3)):
        (root / folder).mkdir()
        for index in range(count):
            small = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / folder / f"{folder}_{index}.png"), picture)
    (root / "photos" / "broken.png").write_bytes(b"not a picture")
    torch.manual_seed(0)
    weights = {k: v for k, v in SqueezeNetFeatures().state_dict().items() if k.startswith("features.")}
    save_file(weights, root / "features.safetensors")
    return root


def training(root: Path, run: Path, steps: int, **changes: object) -> StudentTraining:
    settings: dict[str, object] = {
        "photos": root / "photos", "styles": root / "styles", "features": root / "features.safetensors", "run": run,
        "shipped": ["styles_0", "styles_2"], "steps": steps, "batch": 2, "crop": 64, "style_side": 96,
        "decay_share": 1e-6, "network": StudentConfig(16, 1, 16, 16, 8), "save_every": 3,
    }  # fmt: skip
    return StudentTraining(**{**settings, **changes})  # type: ignore[arg-type]


def weights_of(trainer: StudentTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_loss_falls(folders: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    trainer = StudentTrainer(training(folders, tmp_path, 100))
    trainer.train(lambda step, row: losses.append(row["style"] + row["content"] + row["lattice"]))
    assert losses[-1] < 0.95 * losses[0]
    assert trainer.photos.unreadable > 0  # the broken file was skipped and counted


def test_resumed_run_equals_an_uninterrupted_one(folders: Path, tmp_path: Path) -> None:
    def ignore(step: int, row: dict[str, float]) -> None:
        pass

    whole = StudentTrainer(training(folders, tmp_path / "whole", 6))
    whole.train(ignore)
    StudentTrainer(training(folders, tmp_path / "parts", 3)).train(ignore)
    resumed = StudentTrainer(training(folders, tmp_path / "parts", 6))
    assert resumed.step == 3
    resumed.train(ignore)
    assert torch.equal(weights_of(whole), weights_of(resumed))


def test_run_folder_of_another_network_is_refused(folders: Path, tmp_path: Path) -> None:
    StudentTrainer(training(folders, tmp_path, 3)).train(lambda step, row: None)
    with pytest.raises(UserError, match="other sizes or styles"):
        StudentTrainer(training(folders, tmp_path, 3, shipped=["styles_1"]))


def test_package_loads_and_paints_like_the_network(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_FRAMES", 8)
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_SIDE", 64)
    trainer = StudentTrainer(training(folders, tmp_path / "run", 30))
    trainer.train(lambda step, row: None)
    write_student_package(trainer, tmp_path / "tiny", "0.0.1", lambda text: None)
    package = EnginePackage.load(tmp_path / "tiny")
    assert [style["name"] for style in package.manifest["styles"]] == ["styles_0", "styles_2"]
    assert package.manifest["metrics"]["ssim_int8_float_fast"] > 0.9
    assert package.level("fast").macs < package.level("fine").macs
    stylizer = Stylizer(package)
    frame = np.full((50, 70, 3), 90, np.uint8)
    assert stylizer.run(frame).shape == frame.shape


@pytest.mark.parametrize("what", ["missing", "other"])
def test_wrong_feature_weights_get_one_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "features.safetensors"
    if what == "other":
        save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(UserError, match="no feature network" if what == "missing" else "does not hold SqueezeNet"):
        load_feature_network(path)


def test_unknown_style_to_ship_is_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no style picture absent"):
        StudentTrainer(training(folders, tmp_path, 3, shipped=["absent"]))
