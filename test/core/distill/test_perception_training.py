# SPDX-License-Identifier: Apache-2.0
"""The trainer of a teacher's perception: learns SqueezeNet's features, resumes exactly, packages beside a teacher."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core import cli  # noqa: E402
from muon_ad_core.distill.features import SqueezeNetFeatures, load_feature_network  # noqa: E402
from muon_ad_core.distill.perception_trainer import PerceptionTrainer, PerceptionTraining  # noqa: E402
from muon_ad_core.distill.teachers.micro import load_micro_teacher, random_teacher  # noqa: E402
from muon_ad_core.engine.package import EnginePackage, find_engine  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.nets.perception import CHANNELS, TAPS, Perception  # noqa: E402


def trainer(data: Path, steps: int, **changes: Any) -> PerceptionTrainer:
    recipe = PerceptionTraining(**{"steps": steps, "batch": 2, "size": 64, **changes})
    return PerceptionTrainer([data / "photos", data / "styles"], data / "features.safetensors", recipe)


@pytest.mark.parametrize("sides", [(64, 64), (65, 98), (127, 80)])
def test_features_lie_where_those_of_squeezenet_lie(sides: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *sides) * 2 - 1
    found, wanted = Perception()(picture), SqueezeNetFeatures()(picture, TAPS)
    for tap, channels in zip(TAPS, CHANNELS, strict=True):
        assert found[tap].shape[:2] == wanted[tap].shape[:2] == (2, channels)
        # SqueezeNet's pools go on to a last place of which a part is outside.
        assert all(
            0 <= more - less <= 1 for less, more in zip(found[tap].shape[2:], wanted[tap].shape[2:], strict=True)
        )
    assert set(Perception()(picture, (4, 9))) == {4, 9}


def test_errors_fall(painting_data: Path) -> None:
    run = trainer(painting_data, 80, learning_rate=0.02)
    errors: list[float] = []
    run.run(lambda losses: errors.append(sum(losses.values())))
    assert sum(errors[-10:]) < 0.6 * sum(errors[:10])
    assert run.samples == 160
    assert sum(run.missed().values()) < 0.8 * sum(trainer(painting_data, 80).missed().values())


def test_resumed_run_equals_an_uninterrupted_one(painting_data: Path, tmp_path: Path) -> None:
    whole, first, second = (trainer(painting_data, 6) for _ in range(3))
    whole.run(lambda losses: None)
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    second.run(lambda losses: None)
    for expected, found in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_small_crops_are_refused(painting_data: Path) -> None:
    with pytest.raises(UserError, match="at least 64 pixels"):
        trainer(painting_data, 2, size=32)


def test_command_trains_goes_on_and_writes_a_teacher(painting_data: Path, tmp_path: Path) -> None:
    target = tmp_path / "teacher"
    command = ["train", "perception", "--images", str(painting_data / "photos"), "--run", str(tmp_path / "run"),
               "--features", str(painting_data / "features.safetensors"), "--size", "64", "--batch", "1",
               "-o", str(target), "--note", "made pictures"]  # fmt: skip
    assert cli.main([*command, "--steps", "1"]) == 0
    assert cli.main([*command, "--steps", "2", "--teacher", str(target)]) == 0  # the same folder again
    package = EnginePackage.load(target)
    assert package.manifest["perception"]["training"]["steps_done"] == 2
    assert "made pictures" in (target / "README.md").read_text()
    assert cli.main(command) == 2  # no length given

    teacher, whole = load_micro_teacher(target), load_micro_teacher(find_engine("teacher"))
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    latent = teacher.encode(picture)
    assert torch.equal(
        teacher.features(latent, 0.4, (1,))[0].output, whole.features(whole.encode(picture), 0.4, (1,))[0].output
    )
    assert teacher.perception is not None
    found = teacher.perception(picture, (1, 9))
    assert set(found) == {1, 9} and found[1].shape == (1, 64, 31, 31)
    control = teacher.untrained(seed=3)
    assert control.perception is not None
    assert not torch.allclose(control.perception(picture, (1,))[1], found[1], atol=1e-2)


def test_controls_have_a_perception_only_where_the_teacher_has_one() -> None:
    assert random_teacher().perception is not None
    assert random_teacher(perceives=False).untrained().perception is None


def test_weights_that_are_no_squeezenet_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no feature network"):
        load_feature_network(tmp_path / "none.safetensors")
