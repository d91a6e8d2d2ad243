# SPDX-License-Identifier: Apache-2.0
"""Channel moments of latents: regions, several styles, gradients, and their place in the style loss."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.attention_objective import AttentionObjective, ObjectiveSettings, Regions  # noqa: E402
from muon_ad_core.distill.latent_statistics import ONE_REGION, channel_moments, moment_difference  # noqa: E402
from muon_ad_core.distill.teachers.micro import random_teacher  # noqa: E402
from muon_ad_core.nets.micro_teacher import MicroTeacherConfig  # noqa: E402

SMALL = MicroTeacherConfig(block=4, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), head=16, time=8)


def test_moments_are_of_all_positions_of_all_latents() -> None:
    first, second = torch.randn(1, 5, 4, 6), torch.randn(1, 5, 2, 2) * 3
    found = channel_moments([first, second])[ONE_REGION]
    values = torch.cat([first.flatten(2)[0], second.flatten(2)[0]], dim=1)
    assert torch.allclose(found.mean, values.mean(1), atol=1e-6)
    assert torch.allclose(found.deviation, values.std(1, correction=0), atol=1e-4)


def test_regions_are_kept_apart_and_unknown_ones_left_out() -> None:
    latent = torch.cat([torch.zeros(1, 2, 1, 4), torch.ones(1, 2, 1, 4)], dim=2)
    labels = torch.tensor([3] * 4 + [7] * 4)
    found = channel_moments([latent], [labels])
    assert set(found) == {3, 7} and found[3].mean.tolist() == [0, 0] and found[7].mean.tolist() == [1, 1]
    assert float(moment_difference(found, {3: found[3]})) == 0
    assert float(moment_difference({3: found[7]}, {3: found[3]})) > 100  # one in units of almost no deviation
    assert float(moment_difference({1: found[7]}, {3: found[3]})) == 0


def test_the_difference_is_in_units_of_the_wanted_deviation() -> None:
    wanted = torch.randn(1, 3, 40, 40)
    shifted = wanted + 0.5 * wanted.std()
    assert float(moment_difference(channel_moments([shifted]), channel_moments([wanted]))) == pytest.approx(
        0.5, rel=0.1
    )


def test_constant_channels_have_finite_gradients() -> None:
    latent = torch.zeros(1, 3, 4, 4, requires_grad=True)
    moment_difference(channel_moments([latent]), channel_moments([torch.randn(1, 3, 4, 4)])).backward()
    assert latent.grad is not None and bool(latent.grad.isfinite().all())


@pytest.mark.parametrize("regions", [False, True])
def test_statistics_add_to_the_style_loss_what_they_say(regions: bool) -> None:
    teacher = random_teacher(SMALL)
    style, content = torch.rand(1, 3, 32, 32) * 2 - 1, torch.rand(1, 3, 48, 40) * 2 - 1
    masks = None
    if regions:
        masks = Regions(torch.ones(48, 40), (torch.ones(32, 32),))
    settings = ObjectiveSettings(shifts=1)
    losses = []
    for weight in (0.0, 2.0):
        changed = replace(settings, statistics_weight=weight)
        losses.append(AttentionObjective(teacher, [style], content, 1, changed, masks)([content], 0))
    difference = moment_difference(channel_moments([teacher.encode(content)]), channel_moments([teacher.encode(style)]))
    assert float(losses[1][0] - losses[0][0]) == pytest.approx(2 * float(difference), rel=1e-3)
    assert float(losses[1][1]) == float(losses[0][1]) == pytest.approx(0, abs=1e-5)
