# SPDX-License-Identifier: Apache-2.0
"""Patches of a style as a loss: strokes and palette go over, regions and borders are kept, runs go on as they were."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.attention_objective import AttentionObjective, ObjectiveSettings, Regions  # noqa: E402
from muon_ad_core.distill.patch_matching import EVERY, PatchMatching  # noqa: E402
from muon_ad_core.distill.teachers.micro import random_teacher  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), head=16, time=8)


def noise(seed: int, size: tuple[int, int] = (64, 64), amplitude: float = 0.3) -> torch.Tensor:
    return amplitude * torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def stripes(across: bool, size: int = 64) -> torch.Tensor:
    """Waves of 8 pixels."""
    wave = 0.8 * torch.sin(torch.arange(size) * torch.pi / 4)
    return (wave[None, :] if across else wave[:, None]).expand(1, 3, size, size).contiguous()


def optimised(distance: PatchMatching, start: torch.Tensor, steps: int = 40) -> torch.Tensor:
    picture = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([picture], 0.05)
    for step in range(steps):
        optimiser.zero_grad()
        distance(picture, step).backward()
        optimiser.step()
    return picture.detach()


def test_a_picture_of_the_styles_patches_is_near_and_another_is_not() -> None:
    style = stripes(across=True)
    for picture, near in ((torch.roll(style, 4, 3), True), (stripes(across=False), False)):
        distance = float(PatchMatching([style], 0, tile=True)(picture, 0))
        assert distance < 0.02 if near else distance > 0.2


def test_noise_becomes_strokes_of_the_style() -> None:
    picture = optimised(PatchMatching([stripes(across=True)], 0), noise(1, (48, 48)))
    across, down = (float(picture.diff(dim=dim).abs().mean()) for dim in (3, 2))
    assert across > 4 * down
    assert float(picture.std()) == pytest.approx(float(stripes(True).std()), rel=0.25)


def test_the_photographs_share_decides_where_strokes_lie() -> None:
    style = stripes(across=True)
    content = torch.roll(style, 4, 3)  # light where the picture that is begun with is dark
    free, bound = (optimised(PatchMatching([style], 0, content, share), style, 48) for share in (0.0, 0.9))
    assert float((free - style).abs().mean()) < 0.1 < float((bound - style).abs().mean())
    assert float((bound - content).abs().mean()) < 0.1


def test_patches_that_nothing_looked_for_are_preferred_to_used_ones() -> None:
    style, picture = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    style[..., 32:], picture[..., 32:] = 0.1, 0.04  # 0.04 is nearer to 0, which the left half has found
    distance = PatchMatching([style], 0)
    distance(picture, 0)
    found = distance.state_dict()["found"][0]
    assert float(found[..., :24].mean()) == pytest.approx(0, abs=0.01)
    assert float(found[..., 40:].mean()) == pytest.approx(0.1, abs=0.02)


def test_several_styles_are_one_store_of_patches() -> None:
    bright, dark = noise(0) * 0.1 + 0.5, noise(1) * 0.1 - 0.5
    mixed = torch.cat([bright, dark], dim=3)
    both, one = PatchMatching([bright, dark], 0), PatchMatching([bright], 0)
    assert float(both(mixed, 0)) < 0.5 * float(one(mixed, 0))


def test_regions_take_their_own_style() -> None:
    bright, dark = noise(0) * 0.1 + 0.5, noise(1) * 0.1 - 0.5
    labels = torch.zeros(64, 128)
    labels[:, 64:] = 1
    distance = PatchMatching([bright, dark], 0, labels=[torch.zeros(64, 64), torch.ones(64, 64)])
    picture = torch.zeros(1, 3, 64, 128)
    for step in range(12):  # half of the way to what is found, and on
        leaf = picture.clone().requires_grad_()
        distance(leaf, step, labels).backward()
        assert leaf.grad is not None
        picture = picture - 0.05 * leaf.grad.sign()
    assert float(picture[..., :60].mean()) > 0.3 and float(picture[..., 68:].mean()) < -0.3
    # a region that no style has finds the patches of all
    assert float(PatchMatching([bright], 0, labels=[torch.zeros(64, 64)])(bright, 0, labels[:, :64] + 5)) < 0.1


def test_tiles_look_across_the_border() -> None:
    wave = stripes(across=True)  # 64 pixels, a whole number of waves: opposite borders fit
    broken = wave.clone()
    broken[..., -2:] = 0
    tiled, plain = (PatchMatching([wave], 0, tile=tile) for tile in (True, False))
    for distance in (tiled, plain):
        distance(broken, 0)
    seam = [float((d.state_dict()["found"][0] - wave)[..., -2:].abs().mean()) for d in (tiled, plain)]
    assert seam[0] < 0.5 * seam[1]


def test_it_searches_anew_after_some_steps_and_goes_on_where_it_was() -> None:
    style, first, later = noise(0), noise(1), noise(2)
    distance = PatchMatching([style], seed=3)
    distance(first, 0)
    found = distance.state_dict()["found"]
    distance(later, EVERY - 1)
    assert all(map(torch.equal, found, distance.state_dict()["found"]))
    resumed = PatchMatching([style], seed=3)
    resumed.load_state_dict(distance.state_dict())
    assert float(resumed(later, EVERY - 1)) == float(distance(later, EVERY - 1))
    assert float(distance(later, EVERY)) == float(resumed(later, EVERY)) != float(distance(later, 0))


@pytest.mark.parametrize("regions", [False, True])
def test_patches_add_to_the_style_loss_what_they_say(regions: bool) -> None:
    teacher = random_teacher(SMALL)
    style, content = noise(0, (32, 32)), noise(1, (48, 40), 0.1)
    masks = Regions(torch.ones(48, 40), (torch.ones(32, 32),)) if regions else None
    settings = ObjectiveSettings(shifts=1, seed=2)
    plain, added = (
        AttentionObjective(teacher, [style], content, 1, replace(settings, patch_weight=weight), masks)([content], 3)
        for weight in (0.0, 2.0)
    )
    expected = 2 * float(PatchMatching([style], seed=2)(content, 3))
    assert float(added[0] - plain[0]) == pytest.approx(expected, rel=1e-3)
    assert added[1] is not None and float(added[1]) == pytest.approx(0, abs=1e-5)
