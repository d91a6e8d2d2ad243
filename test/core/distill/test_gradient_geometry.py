# SPDX-License-Identifier: Apache-2.0
"""Gradient geometry against closed forms, autograd, and TorchJD's PCGrad and UPGrad."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from muon_ad_core.distill.gradient_geometry import (  # noqa: E402
    ConflictStatistics,
    GradientBalance,
    SecondMoment,
    cosine,
    inner,
    orthogonal_to,
    pcgrad,
    project_conflict,
    with_norm_of,
)

SEEDS = st.integers(0, 2**31 - 1)


def gradients(seed: int, batch: int = 3) -> list[torch.Tensor]:
    """A gradient of two tensors, as of a pyramid."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 2, 3, 3, generator=generator), torch.randn(batch, 4, generator=generator)]


def flat(gradient: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([x.flatten(1) for x in gradient], dim=1)


@settings(max_examples=25)
@given(SEEDS)
def test_inner_products_are_those_of_the_flat_gradients(seed: int) -> None:
    a, b, weights = gradients(seed), gradients(seed + 1), [x.abs() for x in gradients(seed + 2)]
    assert torch.allclose(inner(a, b), (flat(a) * flat(b)).sum(1), atol=1e-5)
    assert torch.allclose(inner(a, b, weights), (flat(a) * flat(b) * flat(weights)).sum(1), atol=1e-4)
    assert torch.allclose(cosine(a, b), torch.nn.functional.cosine_similarity(flat(a), flat(b)), atol=1e-5)


@settings(max_examples=25)
@given(SEEDS)
def test_g_ortho_is_the_projection_matrix_applied(seed: int) -> None:
    gradient, latent = gradients(seed), gradients(seed + 1)
    found = flat(orthogonal_to(gradient, latent))
    for row, g, z in zip(found, flat(gradient), flat(latent)):
        projector = torch.eye(len(z)) - torch.outer(z, z) / z.dot(z)
        assert torch.allclose(row, projector @ g, atol=1e-5)
    assert inner(orthogonal_to(gradient, latent), latent).abs().max() < 1e-4


def test_g_ortho_is_the_gradient_of_a_loss_that_ignores_the_norm() -> None:
    """Of f(z / |z|), autograd's gradient is G_ortho of f's gradient at the unit vector, by |z|."""
    z = torch.randn(1, 12, generator=torch.Generator().manual_seed(1), requires_grad=True)
    target = torch.randn(1, 12, generator=torch.Generator().manual_seed(2))
    ((z / z.norm() - target) ** 2).sum().backward()
    unit = (z / z.norm()).detach()
    expected = orthogonal_to([2 * (unit - target)], [unit])[0] / z.detach().norm()
    assert torch.allclose(z.grad, expected, atol=1e-6)


def test_a_latent_gets_its_norm_back() -> None:
    latent, reference = gradients(1), gradients(2)
    scaled = with_norm_of(latent, reference)
    assert torch.allclose(inner(scaled, scaled), inner(reference, reference), rtol=1e-5)
    assert torch.allclose(cosine(scaled, latent), torch.ones(3), atol=1e-6)


@settings(max_examples=50)
@given(SEEDS, st.floats(-0.9, 0.9), st.booleans())
def test_projection_acts_below_the_threshold_only(seed: int, threshold: float, weighted: bool) -> None:
    style, content = gradients(seed), gradients(seed + 1)
    weights = [x.abs() + 0.1 for x in gradients(seed + 2)] if weighted else None
    before = cosine(style, content, weights)
    found = project_conflict(style, content, threshold, weights)
    for sample in range(3):
        if before[sample] < threshold:
            assert abs(float(inner(found, content, weights)[sample])) < 1e-3
        else:
            assert torch.equal(flat(found)[sample], flat(style)[sample])


@settings(max_examples=25)
@given(SEEDS)
def test_both_sided_projection_at_threshold_zero_is_torchjds_pcgrad(seed: int) -> None:
    aggregation = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed: pip install torchjd")
    style, content = gradients(seed, batch=1), gradients(seed + 1, batch=1)
    found = aggregation.PCGrad()(torch.cat([flat(style), flat(content)]))
    assert torch.allclose(flat(pcgrad(style, content))[0], found, atol=1e-4)


@settings(max_examples=25)
@given(SEEDS)
def test_upgrad_of_torchjd_is_half_of_it(seed: int) -> None:
    aggregation = pytest.importorskip("torchjd.aggregation", reason="TorchJD is not installed: pip install torchjd")
    pytest.importorskip("quadprog", reason="UPGrad needs quadprog: pip install torchjd[quadprog-projector]")
    style, content = gradients(seed, batch=1), gradients(seed + 1, batch=1)
    ours = flat(pcgrad(style, content))[0] / 2
    found = aggregation.UPGrad()(torch.cat([flat(style), flat(content)]))
    assert (ours - found).norm() < 1e-2 * ours.norm()


def test_a_step_along_a_weighted_projection_keeps_content_to_first_order() -> None:
    """What the weights are for: Adam's division of the projected gradient is at right angles to content's gradient."""
    moment = SecondMoment(decay=0.9)
    assert moment.weights() is None
    scales = [torch.full((3, 2, 3, 3), 0.1), torch.full((3, 4), 10.0)]
    for seed in range(50):
        moment.update([x * s for x, s in zip(gradients(seed), scales)])
    weights = moment.weights()
    style, content = gradients(100), [-x + 0.1 for x in gradients(100)]
    projected = project_conflict(style, content, -0.5, weights)
    stepped = [x * weight for x, weight in zip(projected, weights)]
    assert float(inner(stepped, content).abs().max()) < 1e-3 * float(inner(content, content).max())
    # Large gradients count little: weights go by one over their size.
    assert float(weights[0].mean() / weights[1].mean()) == pytest.approx(100, rel=0.3)
    restored = SecondMoment(decay=0.9)
    restored.load_state_dict(moment.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(restored.weights(), weights))


def test_conflicts_are_counted_before_and_after() -> None:
    statistics = ConflictStatistics(threshold=-0.5)
    assert statistics.rates is None
    assert statistics.add(torch.tensor([-0.9, -0.6, 0.2, 0.0]), torch.tensor([0.0, -0.6, 0.2, 0.0])) == (0.5, 0.25)
    statistics.add(torch.tensor([0.1, 0.1, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.1, 0.1]))
    assert statistics.rates == (0.25, 0.125)
    assert statistics.ema_before == pytest.approx(0.5 * 0.05 * 0.95)


def test_balance_gives_style_the_norm_of_content() -> None:
    balance = GradientBalance(gamma=2.0)
    style, content = gradients(1), [5 * x for x in gradients(2)]
    scaled = balance.scale(style, content)
    assert torch.allclose(inner(scaled, scaled).sqrt(), 2 * inner(content, content).sqrt(), rtol=1e-4)
    assert torch.allclose(cosine(scaled, style), torch.ones(3), atol=1e-5)


def test_balance_follows_slowly_and_leaves_textures_alone() -> None:
    balance = GradientBalance(decay=0.9)
    one, ten = [torch.ones(1, 4)], [torch.full((1, 4), 10.0)]
    balance.scale(one, one)
    assert float(balance.scale(one, ten)[0][0, 0]) == pytest.approx(1.9, rel=1e-4)
    state = balance.state_dict()
    other = GradientBalance(decay=0.9)
    other.load_state_dict(state)
    assert torch.equal(other.scale(one, ten)[0], balance.scale(one, ten)[0])
    assert torch.equal(GradientBalance().scale(one, [torch.zeros(1, 4)])[0], one[0])
