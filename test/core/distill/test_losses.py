# SPDX-License-Identifier: Apache-2.0
"""Losses of the student against closed forms."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.losses import (  # noqa: E402
    BORDER,
    Moments,
    border_penalty,
    content_distance,
    lattice_penalty,
    mesh_penalty,
    moment_distance,
    moments,
    shift_difference,
    tone_distance,
    total_variation,
)
from muon_ad_core.distill.pictures import to_tensor  # noqa: E402
from muon_ad_core.metrics.mesh import mesh  # noqa: E402


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_moments_are_those_of_numpy() -> None:
    features = noise(2, 5, 7, 9)
    found = moments(features)
    flat = features[1].flatten(1).numpy()
    assert np.allclose(found.mean[1], flat.mean(1), atol=1e-6)
    assert np.allclose(found.covariance[1], np.cov(flat, bias=True), atol=1e-5)


def test_gradient_of_the_covariance_is_exact_although_the_mean_is_detached() -> None:
    features = noise(1, 3, 4, 4).double().requires_grad_()
    found = moments(features).covariance.double()
    weight = noise(1, 3, 3, seed=1).double()
    (gradient,) = torch.autograd.grad((found * weight).sum(), features)
    flat = features.detach().flatten(2).requires_grad_()
    centred = flat - flat.mean(2, keepdim=True)
    (expected,) = torch.autograd.grad((centred @ centred.mT / 16 * weight).sum(), flat)
    assert torch.allclose(gradient.flatten(2), expected, atol=1e-6)


def test_moment_distance_is_zero_for_equal_and_one_for_nothing() -> None:
    target = moments(noise(3, 4, 8, 8))
    nothing = Moments(torch.zeros_like(target.mean), torch.zeros_like(target.covariance))
    assert torch.allclose(moment_distance(target, target), torch.zeros(3))
    assert torch.allclose(moment_distance(nothing, target), torch.ones(3))


def test_content_ignores_palette_and_contrast() -> None:
    features = noise(2, 4, 8, 8)
    assert content_distance(3 * features + 5, features).max() < 1e-4
    assert content_distance(noise(2, 4, 8, 8, seed=1), features).min() > 1


def test_lattice_penalty_sees_what_repeats_and_nothing_else() -> None:
    cell = noise(1, 3, 8, 8)
    repeated = cell.repeat(1, 1, 12, 12)
    variance = (cell - cell.mean((2, 3), keepdim=True)).square().mean()
    assert torch.allclose(lattice_penalty(repeated), variance[None], rtol=1e-4)
    assert lattice_penalty(torch.full((1, 3, 96, 96), 0.7)).item() < 1e-10
    assert lattice_penalty(noise(1, 3, 96, 96)).item() < variance / 20


def test_mesh_penalty_is_the_measure_with_a_gradient() -> None:
    rows, columns = np.mgrid[:96, :128]
    woven = np.random.default_rng(0).normal(128, 12, (96, 128, 3)) + 9 * np.cos(rows / 0.8 + columns)[..., None]
    picture = woven.astype(np.uint8)
    found = to_tensor([picture]).requires_grad_()
    penalty = mesh_penalty(found)
    assert penalty.item() == pytest.approx(mesh(picture), rel=1e-3)
    (gradient,) = torch.autograd.grad(penalty.sum(), found)
    assert mesh_penalty(found - 0.2 * gradient / gradient.abs().max()).item() < penalty.item()
    assert mesh_penalty(torch.full((1, 3, 64, 64), 0.7)).item() < 1e-6


def test_border_penalty_is_that_of_a_line_whatever_the_strokes() -> None:
    """Strokes of both frames are independent: in the mean over many, only what they share along a border is left."""
    first, second = (0.5 * noise(64, 3, 96, 80, seed=seed) for seed in (0, 1))
    assert abs(border_penalty(first, second).mean().item()) < 1e-4
    for line in ((3, slice(None)), (slice(None), -BORDER)):
        with_line = [plain.clone() for plain in (first, second)]
        for plain in with_line:
            plain[:, :, line[0], line[1]] += 0.4
        # One of 4 BORDER lines; the others have a dot of it each.
        assert border_penalty(*with_line).mean().item() == pytest.approx(0.4**2 / (4 * BORDER), rel=0.15)
    middle = torch.zeros(1, 3, 96, 80)
    middle[:, :, BORDER:-BORDER] += 0.4
    assert border_penalty(middle, middle).item() > 0.03


@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (7, 0)])
def test_shifted_views_of_one_picture_do_not_differ(shift: tuple[int, int]) -> None:
    picture = noise(2, 3, 40, 40)
    rows, columns = shift
    first, second = picture[:, :, :32, :32], picture[:, :, rows : rows + 32, columns : columns + 32]
    assert shift_difference(first, second, shift).max() == 0
    if shift != (0, 0):
        assert shift_difference(first, second, (0, 0)).min() > 1


def test_what_differs_as_a_whole_counts_more_than_strokes() -> None:
    picture = torch.zeros(1, 3, 72, 80)
    checkers = torch.tensor([0.5, -0.5]).repeat(36)[:, None] * torch.tensor([1.0, -1.0]).repeat(40)
    assert shift_difference(picture, picture + checkers, (8, 16)).item() == pytest.approx(0.25)
    assert shift_difference(picture, picture + 0.5, (8, 16)).item() == pytest.approx(0.25 * 17)


def test_total_variation_of_a_ramp() -> None:
    ramp = torch.arange(10.0).repeat(1, 1, 6, 1)
    assert torch.allclose(total_variation(ramp), torch.ones(1))


def test_tone_distance_sees_shading_but_not_exposure_or_texture() -> None:
    picture = noise(1, 3, 8, 8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    checkers = torch.tensor([1.0, -1.0]).repeat(32)[:, None] * torch.tensor([1.0, -1.0]).repeat(32)
    assert tone_distance(0.3 * picture + 0.5 + checkers, picture).item() == pytest.approx(0, abs=1e-3)
    assert tone_distance(-picture, picture).item() == pytest.approx(4, abs=1e-2)
    assert 1 < tone_distance(noise(1, 3, 64, 64, seed=1), picture).item() < 3
