# SPDX-License-Identifier: Apache-2.0
"""The distance of feature distributions: closed forms, blindness to places, and what covariances do not see."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill import feature_distribution  # noqa: E402
from muon_ad_core.distill.feature_distribution import (  # noqa: E402
    COLOUR_WEIGHT,
    COLOURS,
    DIRECTIONS,
    STRENGTH_WEIGHT,
    STYLE_TAPS,
    Distribution,
    distribution_distance,
    style_distribution,
)
from muon_ad_core.distill.features import SqueezeNetFeatures, load_feature_network  # noqa: E402
from muon_ad_core.distill.losses import moment_distance, moments  # noqa: E402

EVERY = range(DIRECTIONS)


@pytest.fixture
def network(painting_data: Path) -> SqueezeNetFeatures:
    return load_feature_network(painting_data / "features.safetensors")


def picture(seed: int, side: int = 96) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_picture_is_at_no_distance_from_itself_and_far_from_grey(network: SqueezeNetFeatures) -> None:
    style = picture(0)
    target = style_distribution(network, style)
    itself = distribution_distance(style, network(style, STYLE_TAPS), [target], EVERY)
    grey = torch.zeros_like(style)
    far = distribution_distance(grey, network(grey, STYLE_TAPS), [target], EVERY)
    assert itself.item() < 0.01 < far.item()


def test_each_picture_is_compared_with_its_own_target(network: SqueezeNetFeatures) -> None:
    styles = [picture(0), picture(1) * 0.5]
    targets = [style_distribution(network, style) for style in styles]
    both = torch.cat(styles)
    right = distribution_distance(both, network(both, STYLE_TAPS), targets, EVERY)
    wrong = distribution_distance(both, network(both, STYLE_TAPS), targets[::-1], EVERY)
    assert right.shape == (2,)
    assert (right < wrong / 10).all()


def test_colours_alone_have_the_closed_form_of_a_shift(network: SqueezeNetFeatures) -> None:
    """Every projection of a shifted picture is shifted by the projected shift."""
    style = picture(2)
    target = style_distribution(network, style)
    found = network(style, STYLE_TAPS)
    shift = torch.tensor([1.0, -2.0, 0.5])
    moved = style + shift[None, :, None, None]
    directions = feature_distribution._directions(COLOURS, 3)
    wanted = target.projections[COLOURS]
    variance = (wanted - wanted.mean(dim=2, keepdim=True)).square().mean()
    expected = COLOUR_WEIGHT / 5 * (directions @ shift).square().mean() / variance
    both = [distribution_distance(each, found, [target], EVERY) for each in (style, moved)]
    assert (both[1] - both[0]).item() == pytest.approx(expected.item(), rel=0.05)


def test_what_is_painted_too_faintly_is_at_the_distance_of_its_strength(network: SqueezeNetFeatures) -> None:
    """Features of half the strength, whose distribution is told to be the right one."""
    style = picture(4)
    target = style_distribution(network, style)
    found = network(style, STYLE_TAPS)
    faint = {tap: each / 2 for tap, each in found.items()}
    its_own = {tap: feature_distribution._sorted(each, tap, EVERY) for tap, each in faint.items()}
    told = Distribution({COLOURS: target.projections[COLOURS], **its_own}, target.strengths)
    assert distribution_distance(style, faint, [told], EVERY).item() == pytest.approx(0.25 * STRENGTH_WEIGHT, rel=0.02)


def test_places_do_not_count(network: SqueezeNetFeatures) -> None:
    style = picture(3)
    target = style_distribution(network, style)
    found = network(style, STYLE_TAPS)
    order = {tap: torch.randperm(each[0, 0].numel()) for tap, each in found.items()}
    shuffled = {
        tap: each.flatten(2)[:, :, order[tap]].view_as(each) for tap, each in found.items() if tap != STYLE_TAPS[0]
    } | {STYLE_TAPS[0]: found[STYLE_TAPS[0]]}  # of the first tap a quarter of the places are looked at
    a, b = (distribution_distance(style, each, [target], EVERY) for each in (found, shuffled))
    assert a.item() == pytest.approx(b.item(), rel=1e-4)


def test_it_sees_what_mean_and_covariance_do_not() -> None:
    """Two values each half of the time, and a normal variable of the same variance."""
    random = np.random.default_rng(0)
    flat = random.choice([-1.0, 1.0], (1, 4, 64, 64))
    normal = random.standard_normal((1, 4, 64, 64))
    normal = (normal - normal.mean(axis=(2, 3), keepdims=True)) / normal.std(axis=(2, 3), keepdims=True)
    a, b = (torch.from_numpy(each).float() + 1 for each in (flat, normal))
    axes = feature_distribution._sorted(a, 4, EVERY), feature_distribution._sorted(b, 4, EVERY)
    assert moment_distance(moments(a), moments(b)).item() < 0.01
    assert (axes[0] - axes[1]).square().mean().item() > 0.02
    same = feature_distribution._sorted(torch.roll(a, 5, 2), 4, EVERY)
    assert torch.equal(axes[0], same)


def test_directions_are_those_of_every_run() -> None:
    first = feature_distribution._directions(4, 16).clone()
    feature_distribution._directions.cache_clear()
    torch.manual_seed(99)
    again = feature_distribution._directions(4, 16)
    assert torch.equal(first, again)
    assert torch.allclose(again.norm(dim=1), torch.ones(DIRECTIONS))
