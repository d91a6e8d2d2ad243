# SPDX-License-Identifier: Apache-2.0
"""Synthesis with a small random teacher: sizes, seeds, resuming, tiling, regions, and what is refused."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core import cli  # noqa: E402
from muon_ad_core.distill.attention_objective import AttentionObjective, ObjectiveSettings, Regions  # noqa: E402
from muon_ad_core.distill.distribution_matching import DistributionMatching  # noqa: E402
from muon_ad_core.distill.optimisation_settings import OptimisationSettings  # noqa: E402
from muon_ad_core.distill.pyramid import level_count, refine, render, split  # noqa: E402
from muon_ad_core.distill.synthesis import Synthesis, synthesize  # noqa: E402
from muon_ad_core.distill.synthesis_inputs import SynthesisInputs, plan_stages  # noqa: E402
from muon_ad_core.distill.synthesis_settings import SynthesisSettings  # noqa: E402
from muon_ad_core.distill.teachers import loader  # noqa: E402
from muon_ad_core.distill.teachers.micro import MicroTeacherFeatures, random_teacher  # noqa: E402
from muon_ad_core.engine.frames import central_square  # noqa: E402
from muon_ad_core.errors import ParameterError, UserError  # noqa: E402
from muon_ad_core.metrics.sliced_wasserstein import patch_sliced_wasserstein  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402
from muon_ad_core.nets.perception import TAPS  # noqa: E402
from muon_ad_core.sources.photographs import load_photograph  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), head=16, time=8)


@pytest.fixture(scope="module")
def teacher() -> MicroTeacherFeatures:
    return random_teacher(SMALL)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, size in (("photo", (70, 100)), ("painting", (90, 60)), ("other", (50, 50))):
        small = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC))
    half = np.zeros((30, 40), np.uint8)
    half[:, 20:] = 200
    cv2.imwrite(str(folder / "mask.png"), half)
    return folder


def run(pictures: Path, teacher: MicroTeacherFeatures, **changes: object) -> Synthesis:
    settings = SynthesisSettings(**{"size": 80, "steps": 4, **changes})  # type: ignore[arg-type]
    inputs = SynthesisInputs.read([pictures / "painting.png"], pictures / "photo.png", settings)
    return Synthesis(teacher, inputs, settings)


@pytest.mark.parametrize("size", [(64, 64), (50, 81), (17, 200)])
def test_pyramid_gives_the_picture_back(size: tuple[int, int]) -> None:
    picture = torch.rand(1, 3, *size) * 2 - 1
    levels = split(picture, level_count(*size))
    assert min(levels[-1].shape[2:]) < 32
    assert torch.allclose(render(levels), picture, atol=1e-5)


def test_refined_pyramid_keeps_the_picture_and_takes_the_detail() -> None:
    small, large = torch.rand(1, 3, 32, 32) - 0.5, torch.rand(1, 3, 64, 64) - 0.5
    plain = render(refine(split(small, 2), None, (64, 64)))
    enlarged = torch.nn.functional.interpolate(small, (64, 64), mode="bilinear")
    assert torch.allclose(plain, enlarged, atol=1e-5)
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert torch.allclose(render(refine(split(shrunk, 2), large, (64, 64))), large, atol=1e-5)


def test_result_has_the_contents_shape_at_the_size_asked_for(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    result = run(pictures, teacher).run()
    assert result.picture.shape == (56, 80, 3) and result.picture.dtype == np.uint8
    assert len(result.losses) == 4 and result.seconds > 0 and result.peak_mb > 0


def test_loss_falls(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    # Far from a photograph, distributions are compared by other directions in each step, and the loss with them.
    for weight in (0.0, 0.1):
        objective = ObjectiveSettings(patch_weight=100.0, distribution_weight=weight)
        painted = synthesize([pictures / "painting.png"], teacher=teacher, size=64, steps=40, objective=objective)
        values = [loss for loss in painted.losses if loss is not None]
        assert len(values) == 40 and np.mean(values[-5:]) < 0.8 * np.mean(values[:5])


def test_a_seed_fixes_the_result(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    first, again, other = (run(pictures, teacher, seed=seed).run() for seed in (1, 1, 2))
    assert np.array_equal(first.picture, again.picture) and first.losses == again.losses
    assert first.losses != other.losses


@pytest.mark.parametrize("after", [2, 5])  # within the first stage, and before the second one
def test_resumed_run_equals_an_uninterrupted_one(
    pictures: Path, teacher: MicroTeacherFeatures, tmp_path: Path, after: int
) -> None:
    whole, begun, resumed = (run(pictures, teacher, size=336, steps=6) for _ in range(3))
    assert [stage.steps for stage in whole.stages] == [4, 1, 1]
    expected = whole.run()
    for _ in range(after):
        begun.advance()
    begun.save(tmp_path / "state")
    resumed.load(tmp_path / "state")
    found = resumed.run()
    assert np.array_equal(expected.picture, found.picture) and expected.losses == found.losses


def test_a_state_of_other_pictures_is_refused(pictures: Path, teacher: MicroTeacherFeatures, tmp_path: Path) -> None:
    run(pictures, teacher).save(tmp_path / "state")
    with pytest.raises(UserError, match="other pictures"):
        run(pictures, teacher, seed=3).load(tmp_path / "state")
    (tmp_path / "state").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged"):
        run(pictures, teacher).load(tmp_path / "state")


def test_stages_go_from_coarse_to_full_and_share_the_steps(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    settings = SynthesisSettings(size=1000, steps=130)
    inputs = SynthesisInputs.read([pictures / "painting.png"], pictures / "photo.png", settings)
    stages = plan_stages(settings, inputs, teacher)
    assert [(s.height, s.width) for s in stages] == [(88, 128), (176, 248), (352, 496), (704, 1000)]
    assert [s.steps for s in stages] == [45, 35, 28, 22]
    assert len(plan_stages(replace(settings, stages=1), inputs, teacher)) == 1
    assert sum(s.steps for s in plan_stages(replace(settings, steps=2), inputs, teacher)) == 2


def test_texture_needs_no_content_and_ends_square(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    result = synthesize([pictures / "painting.png", pictures / "other.png"], teacher=teacher, size=64, steps=2)
    assert result.picture.shape == (64, 64, 3)


def test_tiled_results_have_whole_cells_and_their_loss_does_not_see_the_borders(teacher: MicroTeacherFeatures) -> None:
    settings = ObjectiveSettings(tile=True, shifts=5)
    style = torch.rand(1, 3, 32, 32) * 2 - 1
    objective = AttentionObjective(teacher, [style], None, 8, settings)
    target = [torch.rand(1, 3, 32, 32).requires_grad_()]
    seen = set()
    for step in range(8):
        loss, content = objective(target, step)
        assert content is None
        seen.add(round(float(loss.detach()), 6))
    assert len(seen) > 1  # it is looked at from several places
    changed = SynthesisSettings(size=90, objective=settings)
    inputs = SynthesisInputs((np.zeros((64, 64, 3), np.uint8),), None, 90, 90)
    assert {side % teacher.stride for s in plan_stages(changed, inputs, teacher) for side in (s.height, s.width)} == {0}
    assert max(s.height for s in plan_stages(changed, inputs, teacher)) == 88


def test_regions_send_styles_to_their_places(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    settings = SynthesisSettings(size=80, steps=2)
    styles = [pictures / "painting.png", pictures / "other.png"]
    inputs = SynthesisInputs.read(styles, pictures / "photo.png", settings, mask=pictures / "mask.png")
    synthesis = Synthesis(teacher, inputs, settings)
    _, _, regions = inputs.at(synthesis.stages[0], settings, teacher)
    assert regions is not None
    assert regions.picture.shape == (56, 80)
    assert regions.picture[:, :39].max() == 0 and regions.picture[:, 41:].min() == 1
    assert [int(labels.max()) for labels in regions.styles] == [0, 1]
    assert np.isfinite([loss for loss in synthesis.run().losses if loss is not None]).all()
    with pytest.raises(ParameterError, match="2 regions for 1 style"):
        SynthesisInputs.read(styles[:1], None, settings, mask=pictures / "mask.png")
    with pytest.raises(ParameterError, match="grey level 200"):
        flat = pictures / "flat.png"
        cv2.imwrite(str(flat), np.zeros((8, 8), np.uint8))
        SynthesisInputs.read(styles[:1], None, settings, mask=pictures / "mask.png", style_masks=[flat])


def test_latent_target_and_literal_divergence(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    objective = ObjectiveSettings(target="latent", style_loss="kl_literal")
    optimisation = OptimisationSettings(optimizer="muon", projection="plain")
    synthesis = run(pictures, teacher, objective=objective, optimisation=optimisation)
    progress = synthesis.advance()
    assert progress.statistics.conflict_rate is not None and len(synthesis.stages) == 1
    assert synthesis.run().picture.shape == (56, 80, 3)


def test_attention_of_the_unmoved_content_is_met_exactly(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    picture = torch.rand(1, 3, 32, 40) * 2 - 1
    objective = AttentionObjective(teacher, [picture], picture, 1, ObjectiveSettings(shifts=4))
    for step in range(4):
        content = objective([picture], step)[1]
        assert content is not None and float(content) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("regions", [None, "halves"])
def test_several_moves_a_step_have_the_mean_of_their_losses(teacher: MicroTeacherFeatures, regions: str | None) -> None:
    content, style = torch.rand(1, 3, 32, 40) * 2 - 1, torch.rand(1, 3, 40, 32) * 2 - 1
    labels = None
    if regions:
        halves = torch.arange(40) // 20
        labels = Regions(halves.expand(32, 40), (halves[:, None].expand(40, 32),))

    def objective(count: int) -> AttentionObjective:
        return AttentionObjective(
            teacher, [style], content, 1, ObjectiveSettings(shifts=6, shifts_per_step=count), labels
        )

    target = [torch.rand(1, 3, 32, 40) * 2 - 1]
    one = [objective(1)(target, step) for step in range(6)]
    assert len({float(loss) for loss, _ in one}) == 6  # every move is looked at once
    assert one[0] == objective(1)(target, 6)
    for step in (0, 1):
        several = objective(3)(target, step)
        for found, single in zip(several, zip(*one[3 * step : 3 * step + 3], strict=True), strict=True):
            assert found is not None
            assert float(found) == pytest.approx(np.mean([float(loss) for loss in single]), rel=1e-4)


def distributed(teacher: MicroTeacherFeatures, weight: float) -> AttentionObjective:
    style = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return AttentionObjective(teacher, [style], None, 1, ObjectiveSettings(distribution_weight=weight))


def test_distributions_count_as_much_as_is_said(teacher: MicroTeacherFeatures) -> None:
    flat = [torch.zeros(1, 3, 64, 64)]
    losses = [float(distributed(teacher, weight)(flat, 3)[0]) for weight in (0.0, 1.0, 4.0)]
    assert losses[1] > losses[0] + 0.1
    assert losses[2] - losses[0] == pytest.approx(4 * (losses[1] - losses[0]), rel=1e-3)


def test_distributions_are_left_out_without_a_perception() -> None:
    flat, blind = [torch.zeros(1, 3, 64, 64)], random_teacher(SMALL, perceives=False)
    assert distributed(blind, 4.0)(flat, 0) == distributed(blind, 0.0)(flat, 0)


def test_regions_have_distributions_of_their_own(teacher: MicroTeacherFeatures) -> None:
    """A dark and a light style: a picture is near to them where its halves are as its regions say."""
    assert teacher.perception is not None
    random = torch.Generator().manual_seed(0)
    dark, light = (torch.rand(1, 3, 96, 96, generator=random) * 0.5 + level for level in (-0.8, 0.3))
    labels = (torch.arange(192) // 96).expand(96, 192)
    one = torch.zeros(96, 96)
    matching = DistributionMatching(teacher.perception, [dark, light], 0, [one, one + 1])
    right, wrong = torch.cat([dark, light], dim=3), torch.cat([light, dark], dim=3)
    seen_right, seen_wrong = (teacher.perception(picture, TAPS) for picture in (right, wrong))
    assert float(matching(right, seen_right, 0, labels)) < 0.1 * float(matching(wrong, seen_wrong, 0, labels))
    speck = torch.zeros(96, 192)
    speck[50, 100] = 1  # smaller than a place of any layer
    assert np.isfinite(float(matching(right, seen_right, 0, speck)))


def test_the_styles_own_distribution_is_met(teacher: MicroTeacherFeatures) -> None:
    """Wherever things are: noise upside down is near, paler noise far."""
    assert teacher.perception is not None
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    matching = DistributionMatching(teacher.perception, [noise], seed=0)
    itself, turned, paler = (
        float(matching(picture, teacher.perception(picture, TAPS), 0))
        for picture in (noise, noise.flip(2), 0.5 * noise)
    )
    assert itself == pytest.approx(0, abs=1e-6)
    assert turned < 0.1 < paler


def test_perception_holds_the_photograph(teacher: MicroTeacherFeatures) -> None:
    """Nothing is lost where the picture is the photograph, as much as is said where it is not, and nothing without."""
    random = torch.Generator().manual_seed(0)
    photograph, other = (torch.rand(1, 3, 64, 80, generator=random) * 2 - 1 for _ in range(2))

    def content(picture: torch.Tensor, weight: float, seen_by: MicroTeacherFeatures = teacher) -> float:
        settings = ObjectiveSettings(perception_weight=weight)
        objective = AttentionObjective(seen_by, [other], photograph, 4, settings)
        losses = [objective([picture], step)[1] for step in range(3)]  # moved in each
        return sum(float(loss) for loss in losses if loss is not None)

    assert content(photograph, 4.0) == pytest.approx(content(photograph, 0.0), abs=1e-6)
    without, once, more = (content(other, weight) for weight in (0.0, 1.0, 4.0))
    assert once > without + 0.1
    assert more - without == pytest.approx(4 * (once - without), rel=1e-3)
    blind = random_teacher(SMALL, perceives=False)
    assert content(other, 4.0, blind) == content(other, 0.0, blind)


@pytest.mark.parametrize(
    "changes", [{"size": 10}, {"steps": 0}, {"style_scale": 9.0}, {"objective": ObjectiveSettings(target="paper")}]
)
def test_settings_out_of_range_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        SynthesisSettings(**changes)  # type: ignore[arg-type]


def test_sites_out_of_range_are_refused(pictures: Path, teacher: MicroTeacherFeatures) -> None:
    assert teacher.check_sites((-1,)) == (1,)
    with pytest.raises(ParameterError, match="0 to 1"):
        run(pictures, teacher, objective=ObjectiveSettings(sites=(2,)))


@pytest.fixture
def small_random_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "random_teacher", lambda seed, bfloat16: random_teacher(SMALL, seed))


def arguments(pictures: Path, output: Path, *more: str) -> list[str]:
    names = ["--content", str(pictures / "photo.png"), "--style", str(pictures / "painting.png"), "-o", str(output)]
    return ["synthesize", *names, "--teacher", "random", "--size", "64", "--steps", "4", *more]


@pytest.mark.usefixtures("small_random_teacher")
def test_command_paints_shows_previews_and_goes_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.png"
    previews = ("--preview-every", "2", str(tmp_path / "previews"), "--conflicts")
    assert cli.main(arguments(pictures, output, *previews)) == 0
    picture = cv2.imread(str(output))
    assert picture is not None and picture.shape == (45, 64, 3)
    assert sorted(path.name for path in (tmp_path / "previews").iterdir()) == ["step_00002.png", "step_00004.png"]
    assert not (tmp_path / "out.png.checkpoint").exists()

    advance = Synthesis.advance

    def interrupted(self: Synthesis) -> object:
        if self.step == 3:
            raise KeyboardInterrupt
        return advance(self)

    again = tmp_path / "again.png"
    with monkeypatch.context() as patch:
        patch.setattr(Synthesis, "advance", interrupted)
        assert cli.main(arguments(pictures, again, "--conflicts")) == cli.INTERRUPTED
    assert (tmp_path / "again.png.checkpoint").is_file() and not again.exists()
    assert cli.main(arguments(pictures, again, "--conflicts", "--resume")) == 0
    assert np.array_equal(cv2.imread(str(again)), picture)


@pytest.mark.usefixtures("small_random_teacher")
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--size", "9"), "size must be between"),
        (("--resume",), "nothing to resume"),
        (("--style", "missing.png"), "no picture missing.png"),
        (("-o", "out.txt"), "names no picture format"),
        (("--teacher", "no_such_teacher"), "no engine 'no_such_teacher'"),
        (("--preview-every", "x", "y"), "--preview-every wants"),
        (("--learning-rate", "-1"), "learning rate must be positive"),
        (("--distribution-weight", "-1"), "weight of distributions must not be negative"),
        (("--perception-weight", "-1"), "weight of perception must not be negative"),
    ],
)
def test_command_refuses_in_one_sentence(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert cli.main(arguments(pictures, tmp_path / "out.png", *more)) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_teacher_that_ships_paints_a_photograph_that_stays_readable() -> None:
    size = 160
    content, style = (central_square(load_photograph(name), size) for name in ("astronaut.png", "ihc.png"))
    settings = SynthesisSettings(size=size, steps=32)
    result = Synthesis(loader.load_teacher("teacher"), SynthesisInputs((style,), content, size, size), settings).run()
    before, after = (patch_sliced_wasserstein(picture, style) for picture in (content, result.picture))
    assert after < 0.5 * before
    light = [cv2.GaussianBlur(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), (0, 0), 3) for p in (content, result.picture)]
    assert np.corrcoef(light[0].ravel(), light[1].ravel())[0, 1] > 0.7
