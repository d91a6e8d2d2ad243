# SPDX-License-Identifier: Apache-2.0
"""Patch distributions: places do not matter, texture and palette do; regions, gradients, their place in the loss."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.attention_objective import AttentionObjective, ObjectiveSettings, Regions  # noqa: E402
from muon_ad_core.distill.patch_distribution import PatchDistribution  # noqa: E402
from muon_ad_core.distill.teachers.micro import random_teacher  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), head=16, time=8)


def noise(seed: int, size: tuple[int, int] = (96, 128), amplitude: float = 0.3) -> torch.Tensor:
    return amplitude * torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_the_distance_is_of_distributions_and_not_of_places() -> None:
    style = noise(0)
    distance = PatchDistribution([style], seed=0)
    assert float(distance(style, 0)) == pytest.approx(0, abs=1e-6)
    same_kind, paler, tinted = noise(1), noise(1, amplitude=0.15), noise(1) + torch.tensor([0.5, 0, 0])[:, None, None]
    near = float(distance(same_kind, 0))
    assert near < 0.1 < min(float(distance(paler, 0)), float(distance(tinted, 0)))
    assert float(distance(noise(1, (128, 64)), 0)) < 0.15  # of another size


def test_steps_look_along_different_directions_and_seeds_repeat() -> None:
    style, picture = noise(0), noise(1, amplitude=0.2)
    first, second = PatchDistribution([style], seed=3), PatchDistribution([style], seed=3)
    values = [float(first(picture, step)) for step in range(4)]
    assert len(set(values)) == 4
    assert [float(second(picture, step)) for step in range(4)] == values


def test_several_styles_are_one_distribution() -> None:
    bright, dark = noise(0) + 0.5, noise(1) - 0.5
    mixed = torch.cat([bright, dark], dim=3)
    both, one = PatchDistribution([bright, dark], seed=0), PatchDistribution([bright], seed=0)
    assert float(both(mixed, 0)) < 0.5 * float(one(mixed, 0))


def test_regions_take_their_own_style() -> None:
    bright, dark = noise(0) + 0.5, noise(1) - 0.5
    labels = torch.zeros(96, 256)
    labels[:, 128:] = 1
    distance = PatchDistribution([bright, dark], 0, [torch.zeros(96, 128), torch.ones(96, 128)])
    right, wrong = torch.cat([bright, dark], dim=3), torch.cat([dark, bright], dim=3)
    assert float(distance(right, 0, labels)) < 0.2 * float(distance(wrong, 0, labels))
    assert float(distance(right, 0, labels + 5)) == 0  # regions that no style has


def test_gradients_lead_to_the_style() -> None:
    distance = PatchDistribution([noise(0) + 0.4], seed=0)
    picture = torch.zeros(1, 3, 32, 32, requires_grad=True)
    optimiser = torch.optim.Adam([picture], 0.03)
    before = float(distance(picture, 0).detach())
    for step in range(40):
        optimiser.zero_grad()
        distance(picture, step).backward()
        optimiser.step()
    assert float(distance(picture, 0).detach()) < 0.3 * before
    assert float(picture.detach().mean()) == pytest.approx(0.4, abs=0.1)


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
    expected = 2 * float(PatchDistribution([style], seed=2)(content, 3))
    assert float(added[0] - plain[0]) == pytest.approx(expected, rel=1e-3)
    assert added[1] is not None and float(added[1]) == pytest.approx(0, abs=1e-5)
