# SPDX-License-Identifier: Apache-2.0
"""Muon for latents: views, scale, and its second moments."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from muon_ad_core.distill.muon_latent import (  # noqa: E402
    SECOND_MOMENTS,
    VIEWS,
    MuonLatentRule,
    from_matrices,
    rms,
    to_matrices,
)

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 11), st.integers(1, 11))


def random(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40)
@given(SHAPES, st.sampled_from(VIEWS), st.integers(1, 6))
def test_a_view_holds_the_latent_and_gives_it_back(shape: tuple[int, ...], view: str, patch: int) -> None:
    latent = random(shape)
    matrices = to_matrices(latent, view, patch)
    assert matrices.ndim == 3
    assert matrices.square().sum() == pytest.approx(float(latent.square().sum()), rel=1e-5)
    assert torch.equal(from_matrices(matrices, view, latent.shape, patch), latent)


def test_rows_of_views_are_channels_rows_and_patches() -> None:
    latent = torch.arange(2 * 4 * 6.0).reshape(1, 2, 4, 6)
    assert torch.equal(to_matrices(latent, "c_hw")[0, 1], latent[0, 1].flatten())
    assert torch.equal(to_matrices(latent, "ch_w")[0, 5], latent[0, 1, 1])
    assert torch.equal(to_matrices(latent, "patch", 2)[0, 1], latent[0, :, 0:2, 2:4].flatten())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("second_moment", SECOND_MOMENTS)
def test_a_change_has_the_rms_of_its_sample(view: str, second_moment: str) -> None:
    latent = random((2, 4, 6, 8)) * torch.tensor([0.5, 20.0]).reshape(2, 1, 1, 1)
    rule, state = MuonLatentRule(view, patch=4, second_moment=second_moment), {}
    for seed in range(4):
        change = rule.change(latent, random(latent.shape, seed), state)
        assert torch.allclose(rms(change), rms(latent), rtol=1e-4)


@pytest.mark.parametrize("second_moment", SECOND_MOMENTS)
def test_samples_do_not_see_each_other_nor_the_scale_of_gradients(second_moment: str) -> None:
    latent, gradient = random((2, 4, 6, 8)), random((2, 4, 6, 8), 1)
    rule = MuonLatentRule(second_moment=second_moment)
    both = rule.change(latent, gradient, {})
    alone = rule.change(latent[1:], 1000 * gradient[1:], {})
    assert torch.allclose(both[1:], alone, atol=1e-4)


@pytest.mark.parametrize("view", VIEWS)
def test_the_first_change_is_the_polar_factor_of_the_gradient(view: str) -> None:
    latent, gradient = random((1, 8, 8, 8)), random((1, 8, 8, 8), 1)
    change = MuonLatentRule(view, patch=4).change(latent, gradient, {})
    left, _, right = torch.linalg.svd(to_matrices(gradient, view, 4), full_matrices=False)
    polar = from_matrices(left @ right, view, latent.shape, 4)
    # Newton-Schulz brings singular values near 1 only, so the directions agree, not the digits.
    assert torch.nn.functional.cosine_similarity(change.flatten(), -polar.flatten(), dim=0) > 0.97


def test_agrees_with_torch_on_the_matrix_view() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no torch.optim.Muon to compare with")
    latent = random((1, 6, 4, 4))
    parameter = torch.nn.Parameter(latent.reshape(6, 16).clone())
    theirs = torch.optim.Muon([parameter], lr=1.0, weight_decay=0.0)
    rule, state = MuonLatentRule("c_hw", newton_schulz_dtype=torch.bfloat16), {}
    for seed in range(5):
        before, gradient = parameter.detach().clone(), random((6, 16), seed)
        parameter.grad = gradient.clone()
        theirs.step()
        ours = rule.change(latent, gradient.reshape(latent.shape), state)
        way = (parameter.detach() - before).flatten()
        assert torch.nn.functional.cosine_similarity(ours.flatten(), way, dim=0) > 0.99  # both in bfloat16


def test_an_eigenbasis_undoes_a_rotation_of_the_channels() -> None:
    """Adam in the eigenbasis does not depend on the basis that the channels are given in."""
    turn = torch.linalg.qr(random((6, 6), 9))[0]
    latent = random((1, 6, 4, 4))
    rule, states = MuonLatentRule(second_moment="eigenbasis", eigenbasis_every=1), ({}, {})
    scales = torch.arange(1.0, 7.0).reshape(1, 6, 1, 1)
    for seed in range(6):
        gradient = scales * random(latent.shape, seed)
        plain = rule.change(latent, gradient, states[0])
        turned = rule.change(torch.einsum("ij,bjhw->bihw", turn, latent), torch.einsum(
            "ij,bjhw->bihw", turn, gradient), states[1])  # fmt: skip
    assert torch.allclose(torch.einsum("ij,bjhw->bihw", turn, plain), turned, atol=1e-3)


def test_a_latent_of_zeros_is_moved() -> None:
    change = MuonLatentRule().change(torch.zeros(1, 4, 4, 4), random((1, 4, 4, 4)), {})
    assert change.abs().max() > 0
    assert change.isfinite().all()


def test_its_state_can_be_copied_between_steps() -> None:
    rule, state, latent = MuonLatentRule(second_moment="rows"), {}, random((1, 4, 4, 4))
    rule.change(latent, random(latent.shape, 1), state)
    other = copy.deepcopy(state)
    assert torch.equal(
        rule.change(latent, random(latent.shape, 2), state), rule.change(latent, random(latent.shape, 2), other)
    )


@pytest.mark.parametrize("wrong", [{"view": "hw_c"}, {"second_moment": "third"}])
def test_unknown_names_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        MuonLatentRule(**wrong)
