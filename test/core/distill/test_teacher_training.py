# SPDX-License-Identifier: Apache-2.0
"""The teacher's trainer on made pictures: learns, resumes exactly, packages; bad recipes are refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core import cli  # noqa: E402
from muon_ad_core.distill.teacher_package import write_teacher_package  # noqa: E402
from muon_ad_core.distill.teacher_trainer import TeacherTrainer, TeacherTraining  # noqa: E402
from muon_ad_core.distill.teachers.micro import load_micro_teacher, random_teacher  # noqa: E402
from muon_ad_core.engine.package import EnginePackage  # noqa: E402
from muon_ad_core.errors import EngineError, UserError  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), head=16, time=8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in ("photos", "paintings"):
        (root / name).mkdir()
        for index in range(3):
            small = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
            picture = cv2.resize(small, (90, 60), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / name / f"{index}.png"), picture)
    return [root / "photos", root / "paintings"]


def recipe(**changes: object) -> TeacherTraining:
    settings: dict[str, object] = {"steps": 6, "batch": 4, "size": 32, "start_size": 16, "network": SMALL}
    return TeacherTraining(**{**settings, **changes})  # type: ignore[arg-type]


def test_error_falls(folders: list[Path]) -> None:
    trainer = TeacherTrainer(folders, recipe(steps=60, start_size=32))
    errors: list[float] = []
    trainer.run(lambda losses: errors.append(losses["error"]))
    assert np.mean(errors[-10:]) < 0.8 * np.mean(errors[:10])
    assert trainer.samples == 60 * 4


def test_smaller_crops_come_in_larger_batches(folders: list[Path]) -> None:
    trainer = TeacherTrainer(folders, recipe(steps=2))
    sizes = []
    trainer.run(lambda losses: sizes.append((trainer.size, trainer.samples)))
    assert sizes == [(32, 16), (32, 20)]  # 16 crops of 16 pixels, then 4 of 32


def test_resumed_run_equals_an_uninterrupted_one(folders: list[Path], tmp_path: Path) -> None:
    whole, first, second = (TeacherTrainer(folders, recipe()) for _ in range(3))
    whole.run(lambda losses: None)
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    second.run(lambda losses: None)
    for expected, found in zip(whole.average.parameters(), second.average.parameters()):
        assert torch.equal(expected, found)
    assert whole.samples == second.samples


def test_checkpoint_of_another_shape_is_refused(folders: list[Path], tmp_path: Path) -> None:
    TeacherTrainer(folders, recipe()).save(tmp_path / "checkpoint.pt")
    other = MicroTeacherConfig(**{**SMALL.__dict__, "decoder_blocks": (2, 1)})
    with pytest.raises(UserError, match="another network shape"):
        TeacherTrainer(folders, recipe(network=other)).load(tmp_path / "checkpoint.pt")
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged"):
        TeacherTrainer(folders, recipe()).load(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("changes", [{"size": 30}, {"start_size": 64}, {"steps": 0}, {"minutes": 1.0}])
def test_bad_recipes_are_refused(folders: list[Path], changes: dict[str, object]) -> None:
    with pytest.raises(UserError):
        TeacherTrainer(folders, recipe(**changes))


def test_package_gives_the_averaged_features(folders: list[Path], tmp_path: Path) -> None:
    trainer = TeacherTrainer(folders, recipe(steps=2))
    trainer.run(lambda losses: None)
    write_teacher_package(trainer, tmp_path / "small", "0.0.1", "made pictures", 1.0)
    assert EnginePackage.load(tmp_path / "small").task == "teacher"
    assert "made pictures" in (tmp_path / "small" / "README.md").read_text()
    teacher = load_micro_teacher(tmp_path / "small")
    picture = torch.rand(1, 3, 32, 40) * 2 - 1
    latent = teacher.encode(picture)
    assert torch.allclose(teacher.decode(latent), picture, atol=1e-3)
    modules = [module for _, module in trainer.average.attentions()]
    found = teacher.features(latent, 0.4, range(len(modules)))
    expected = trainer.average.decoder_features(0.6 * trainer.average.encode(picture), torch.tensor([0.4]))
    assert [attention.query.shape for attention in found] == [(1, 2, 20, 16), (1, 1, 80, 16)]
    assert torch.isfinite(expected).all()
    other = random_teacher(like=trainer.average)
    assert other.sites == teacher.sites
    assert not torch.allclose(other.features(latent, 0.4, (1,))[0].output, found[1].output, atol=1e-2)


def test_other_packages_are_no_teachers(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no engine package"):
        load_micro_teacher(tmp_path)


def test_command_trains_goes_on_and_writes_the_package(folders: list[Path], tmp_path: Path) -> None:
    command = ["train", "teacher", "--images", *map(str, folders), "--run", str(tmp_path / "run"),
               "--size", "32", "--start-size", "32", "--batch", "1", "-o", str(tmp_path / "teacher")]  # fmt: skip
    assert cli.main([*command, "--steps", "1"]) == 0
    assert cli.main([*command, "--steps", "2"]) == 0
    manifest = EnginePackage.load(tmp_path / "teacher").manifest
    assert manifest["training"]["steps_done"] == 2
    assert cli.main(command) == 2  # no length given
