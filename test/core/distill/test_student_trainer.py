# SPDX-License-Identifier: Apache-2.0
"""The student trainer on made pictures and a feature network with random weights: learns, resumes, packages."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from safetensors.torch import save_file  # noqa: E402

from muon_ad_core.distill import painting_trainer  # noqa: E402
from muon_ad_core.distill.fast_bfloat16 import has_fast_bfloat16  # noqa: E402
from muon_ad_core.distill.features import load_feature_network  # noqa: E402
from muon_ad_core.distill.painting_losses import LossWeights, Views  # noqa: E402
from muon_ad_core.distill.student_package import load_student, write_student_package  # noqa: E402
from muon_ad_core.distill.student_trainer import (  # noqa: E402
    StudentTrainer,
    StudentTraining,
    StyledStudent,
    checkpoint_state,
    with_grain,
)
from muon_ad_core.distill.validation_sheet import SheetWriter  # noqa: E402
from muon_ad_core.engine.package import EnginePackage  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402
from muon_ad_core.machine import Machine  # noqa: E402
from muon_ad_core.nets.rectifier import Rectifier  # noqa: E402
from muon_ad_core.nets.student import StudentConfig  # noqa: E402
from muon_ad_core.stylize import Stylizer  # noqa: E402


def training(root: Path, steps: int, **changes: object) -> StudentTraining:
    settings: dict[str, object] = {
        "photos": root / "photos", "styles": root / "styles", "features": root / "features.safetensors",
        "shipped": ["styles_0", "styles_2"], "steps": steps, "batch": 2, "crop": 64, "max_shift": 16, "style_side": 96,
        "decay_share": 1e-6, "network": StudentConfig(16, 1, 16, 16, 8),
    }  # fmt: skip
    return StudentTraining(**{**settings, **changes})  # type: ignore[arg-type]


def run(trainer: StudentTrainer) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    trainer.run(rows.append)
    return rows


def weights_of(trainer: StudentTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def objective(rows: list[dict[str, float]]) -> float:
    return float(np.mean([row["style"] + row["content"] + row["lattice"] for row in rows]))


def test_loss_falls(painting_data: Path) -> None:
    trainer = StudentTrainer(training(painting_data, 60))
    rows = run(trainer)
    assert objective(rows[30:]) < 0.95 * objective(rows[:30])
    assert trainer.photos.unreadable > 0  # the broken file was skipped and counted


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx2", "avx512f"}, torch.float32), ({"avx2", "avx512_bf16"}, torch.bfloat16)]
)
def test_it_computes_in_bfloat16_where_the_processor_has_units_for_it(
    painting_data: Path, monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: torch.dtype
) -> None:
    monkeypatch.setattr(Machine, "processor_flags", lambda _: flags)
    monkeypatch.setattr(painting_trainer, "has_fast_bfloat16", has_fast_bfloat16.__wrapped__)  # asks again
    trainer = StudentTrainer(training(painting_data, 1))
    found = set()
    trainer.network.student.body[0].first.register_forward_hook(lambda *seen: found.add(seen[-1].dtype))
    trainer.advance()
    assert found == {expected}


def test_resumed_run_equals_an_uninterrupted_one(painting_data: Path, tmp_path: Path) -> None:
    recipe = training(painting_data, 6, projection=True)
    whole = StudentTrainer(recipe)
    run(whole)
    begun = StudentTrainer(recipe)
    for _ in range(3):
        begun.advance()
    begun.save(tmp_path / "checkpoint.pt")
    assert checkpoint_state(tmp_path / "checkpoint.pt") == (recipe.network, 3)
    resumed = StudentTrainer(replace(recipe, seed=0))
    resumed.load(tmp_path / "checkpoint.pt")
    assert resumed.step == 3
    run(resumed)
    assert torch.equal(weights_of(whole), weights_of(resumed))


def test_a_run_with_curriculum_resumes_in_any_phase(painting_data: Path, tmp_path: Path) -> None:
    recipe = training(painting_data, 8, curriculum=True)
    whole = StudentTrainer(recipe)
    run(whole)
    for done in (2, 6):
        begun = StudentTrainer(recipe)
        for _ in range(done):
            begun.advance()
        begun.save(tmp_path / "checkpoint.pt")
        resumed = StudentTrainer(recipe)
        resumed.load(tmp_path / "checkpoint.pt")
        run(resumed)
        assert torch.equal(weights_of(whole), weights_of(resumed))


def test_the_encoder_rests_in_the_last_phase(painting_data: Path) -> None:
    trainer = StudentTrainer(training(painting_data, 8, curriculum=True))
    encoders, bodies = [], []
    for _ in range(8):
        trainer.advance()
        encoders.append(trainer.network.encoder.output.weight.detach().clone())
        bodies.append(trainer.network.student.body[0].first.weight.detach().clone())
    moved = [not torch.equal(a, b) for a, b in pairwise(encoders)]
    assert moved == [True] * 3 + [False] * 4  # phase 3 begins with the fifth of eight steps
    assert not torch.equal(bodies[-2], bodies[-1])


def test_both_views_have_the_grain_of_the_scene() -> None:
    scene = torch.zeros(2, 3, 64, 64)
    views = Views(scene, scene, (7, 12), [0, 0])
    first, second = with_grain(views, 6.0, np.random.default_rng(0))
    assert torch.equal(first[:, :, 7:, 12:], second[:, :, :-7, :-12])
    assert not torch.equal(first[0], first[1])
    assert first.std().item() * 127.5 == pytest.approx(6, rel=0.3)
    assert with_grain(views, 0.0, np.random.default_rng(0))[0] is scene


def test_what_is_finished_is_plain_and_paints_the_same(painting_data: Path) -> None:
    trainer = StudentTrainer(training(painting_data, 10))
    slopes = [_slope(trainer.average)]
    trainer.run(lambda losses: slopes.append(_slope(trainer.average)))
    assert slopes[1] == 0.1 and slopes[-1] == 0.0 and slopes[1:] == sorted(slopes[1:], reverse=True)
    finished = trainer.finished()
    assert finished.state_dict().keys() == StyledStudent(finished.student.config, 2).state_dict().keys()
    picture, style = torch.rand(1, 3, 64, 64) * 2 - 1, torch.rand(1, 3, 256, 256) * 2 - 1
    with torch.no_grad():
        codes = [network.code(style, torch.tensor([0])) for network in (trainer.average, finished)]
        torch.testing.assert_close(*codes)
        torch.testing.assert_close(*(n.student(picture, codes[0]) for n in (trainer.average, finished)))


def _slope(network: StyledStudent) -> float:
    return next(module.slope for module in network.modules() if isinstance(module, Rectifier))


def test_checkpoint_of_another_run_is_refused(painting_data: Path, tmp_path: Path) -> None:
    StudentTrainer(training(painting_data, 3)).save(tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="another network shape"):
        StudentTrainer(training(painting_data, 3, shipped=["styles_1"])).load(tmp_path / "checkpoint.pt")
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is damaged"):
        checkpoint_state(tmp_path / "broken.pt")


@pytest.mark.parametrize(
    "changes, losses",
    [
        ({"weights": LossWeights(tone=0, steady=0, lattice=0, mesh=0, border=0, variation=0)}, {"style", "content"}),
        ({"projection": True},
         {"style", "content", "tone", "lattice", "mesh", "border", "steady", "variation", "conflict"}),
        ({"optimizer": "adamw", "weights": LossWeights(variation=0)},
         {"style", "content", "tone", "lattice", "mesh", "border", "steady"}),
        ({"teacher": "random",
          "weights": LossWeights(attention=1, tone=0, lattice=0, mesh=0, border=0, steady=0, variation=0)},
         {"style", "content", "attention", "attention_content"}),
        ({"teacher": "random",
          "weights": LossWeights(style=0, attention=1, tone=0, lattice=0, mesh=0, border=0, steady=0, variation=0)},
         {"content", "attention", "attention_content"}),
    ],
)  # fmt: skip
def test_each_ingredient_can_be_chosen(painting_data: Path, changes: dict[str, object], losses: set[str]) -> None:
    trainer = StudentTrainer(training(painting_data, 2, crop=96, **changes))
    before = weights_of(trainer)
    rows = run(trainer)
    assert set(rows[0]) == losses
    assert all(np.isfinite(value) for value in rows[-1].values())
    assert not torch.equal(before, weights_of(trainer))


def test_a_level_is_trained_at_the_size_at_which_it_paints(
    painting_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_FRAMES", 8)
    trainer = StudentTrainer(training(painting_data, 2, crop=128, scale=0.5, levels=("fast",)))
    rows = run(trainer)
    assert all(np.isfinite(value) for row in rows for value in row.values())
    views = Views(torch.zeros(2, 3, 128, 128), torch.zeros(2, 3, 128, 128), (6, 10), [0, 1])
    assert trainer.paint(trainer.network, views, np.random.default_rng(0)).shape == (4, 3, 64, 64)
    write_student_package(trainer, tmp_path / "engine", "1.0.0", report=lambda line: None)
    levels = {level.name: level.scale for level in EnginePackage.load(tmp_path / "engine").levels}
    assert levels == {"fast": 0.5, "fine": 1.0}


def test_strokes_in_independent_places_are_no_line(painting_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is won by them: views of the grain that were never near each other would answer each other, and what
    is painted of them could fall below no line at all."""
    trainer = StudentTrainer(training(painting_data, 1, crop=176))
    monkeypatch.setattr(trainer, "paint", lambda network, views, random: torch.cat(with_grain(views, 30.0, random)))
    random = np.random.default_rng(0)
    found = [float(trainer.lines_of_plain_frame(trainer.network, 0, random)) for _ in range(1500)]
    assert abs(np.mean(found)) < 1e-4 < np.std(found)


def test_projection_changes_nothing_without_conflict(painting_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muon_ad_core.distill.painting_trainer.CONFLICT", -1.1)  # no cosine is below
    trainers = [StudentTrainer(training(painting_data, 1, projection=value)) for value in (False, True)]
    for trainer in trainers:
        run(trainer)
    torch.testing.assert_close(weights_of(trainers[0]), weights_of(trainers[1]), rtol=0, atol=2e-4)


def test_impossible_recipes_are_refused(painting_data: Path) -> None:
    with pytest.raises(UserError, match="shift between views"):
        training(painting_data, 1, max_shift=64)
    with pytest.raises(UserError, match="no style gradient to project"):
        training(painting_data, 1, projection=True, weights=LossWeights(style=0))
    with pytest.raises(UserError, match="choose muon or adamw"):
        training(painting_data, 1, optimizer="sgd")
    with pytest.raises(UserError, match="crops must be multiples of 8 pixels, not 100"):
        training(painting_data, 1, crop=100)
    for scale in (0.0, 0.7, 1.5):
        with pytest.raises(UserError, match="cannot be painted at"):
            training(painting_data, 1, crop=64, scale=scale)
    with pytest.raises(UserError, match="nothing to train"):
        training(painting_data, 1, frozen_codes=True, frozen_student=True)


def test_package_paints_like_the_network_and_goes_on(
    painting_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_FRAMES", 8)
    monkeypatch.setattr("muon_ad_core.distill.student_graphs.CALIBRATION_SIDE", 64)
    trainer = StudentTrainer(training(painting_data, 30))
    sheets = SheetWriter(trainer, painting_data / "photos", tmp_path, every=30)
    trainer.run(lambda losses: sheets.after_step())
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["sheet_000030.jpg"]
    write_student_package(trainer, tmp_path / "tiny", "0.0.1", report=lambda text: None)
    package = EnginePackage.load(tmp_path / "tiny")
    assert [style["name"] for style in package.manifest["styles"]] == ["styles_0", "styles_2"]
    assert package.manifest["metrics"]["ssim_int8_float_fast"] > 0.9
    # A frame of 640x480 is painted at half the size by the fast one.
    assert package.level("fast").macs < package.level("fine").macs / 4
    assert 320 * 240 < package.level("fast").most_pixels < 640 * 480 < package.level("fine").most_pixels < 1280 * 720
    assert "| 320x240 |" in (package.root / "README.md").read_text()
    assert package.manifest["softness"] == trainer.recipe.finish.softness > 0
    assert {level.local_contrast for level in package.levels} == {trainer.recipe.finish.local_contrast}
    assert "--local-contrast 0.6" in (package.root / "README.md").read_text()
    stylizer = Stylizer(package)
    frame = np.full((50, 70, 3), 90, np.uint8)
    assert stylizer.run(frame).shape == frame.shape

    start = {"shipped": ["styles_2", "styles_1"], "frozen_codes": True, "leak": 0.0}
    with pytest.raises(ValueError, match="standardised=False"):
        StudentTrainer(training(painting_data, 2, **start)).start_from(load_student(package), ["styles_0", "styles_2"])
    further = StudentTrainer(training(painting_data, 2, standardised=False, **start))
    further.start_from(load_student(package), ["styles_0", "styles_2"])
    codes = further.style_codes()
    np.testing.assert_allclose(codes["styles_2"], stylizer.style("styles_2").code, atol=0.05)  # weights are in float16
    run(further)
    np.testing.assert_array_equal(further.style_codes()["styles_2"], codes["styles_2"])


def test_an_encoder_learns_while_styles_that_ship_stay(painting_data: Path, tmp_path: Path) -> None:
    whole = StudentTrainer(training(painting_data, 2))
    run(whole)
    start, names = whole.finished(), ["styles_0", "styles_2"]

    def begun() -> StudentTrainer:
        recipe = training(painting_data, 4, standardised=False, leak=0.0, frozen_student=True, shipped_share=0.0)
        trainer = StudentTrainer(recipe)
        trainer.start_from(start, names)
        return trainer

    trainer = begun()
    codes = trainer.style_codes()
    np.testing.assert_allclose(codes["styles_2"], whole.style_codes()["styles_2"], atol=1e-5)
    for _ in range(2):
        trainer.advance()
    trainer.save(tmp_path / "checkpoint.pt")
    run(trainer)
    end = trainer.finished()
    for name, value in start.student.state_dict().items():
        assert torch.equal(value, end.student.state_dict()[name]), name
    picture = torch.rand(1, 3, 256, 256) * 2 - 1
    assert not torch.allclose(start.encoder(picture), end.encoder(picture), atol=1e-4)
    for name, code in trainer.style_codes().items():
        np.testing.assert_allclose(code, codes[name], atol=1e-5)
    resumed = begun()
    resumed.load(tmp_path / "checkpoint.pt")
    run(resumed)
    assert torch.equal(resumed.finished().offsets, end.offsets)


@pytest.mark.parametrize("what", ["missing", "other"])
def test_wrong_feature_weights_get_one_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "features.safetensors"
    if what == "other":
        save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(UserError, match="no feature network" if what == "missing" else "does not hold SqueezeNet"):
        load_feature_network(path)


def test_unknown_style_to_ship_is_refused(painting_data: Path) -> None:
    with pytest.raises(UserError, match="no style picture absent"):
        StudentTrainer(training(painting_data, 3, shipped=["absent"]))


def test_further_palettes_teach_the_encoder_alone(painting_data: Path) -> None:
    trainer = StudentTrainer(training(painting_data, 1, palettes=2))
    names = [style.name for style in trainer.styles]
    assert names == ["styles_0", "styles_2", "styles_1", "styles_1_1", "styles_1_2"]
    assert trainer.shipped == ["styles_0", "styles_2"]
    first, second = trainer.style_pictures[2], trainer.style_pictures[3]
    assert np.array_equal(first[:, :, [0, 2, 1]], second)


def test_parts_of_paintings_are_styles_of_their_own(painting_data: Path) -> None:
    trainer = StudentTrainer(training(painting_data, 1, parts=True, palettes=1))
    names = [style.name for style in trainer.styles]
    assert names[:2] == trainer.shipped == ["styles_0", "styles_2"]
    parts = [f"styles_{picture}_part_{part}" for picture in range(3) for part in range(1, 5)]
    assert set(names[2:]) == {name + end for name in ["styles_1", *parts] for end in ("", "_1")}
    whole = trainer.style_pictures[0]
    last = trainer.style_pictures[names.index("styles_0_part_4")]
    height, width = last.shape[:2]
    assert (height, width) == (round(0.6 * whole.shape[0]), round(0.6 * whole.shape[1]))
    assert np.array_equal(last, whole[-height:, -width:])
