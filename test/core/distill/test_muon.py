# SPDX-License-Identifier: Apache-2.0
"""Muon against torch.optim.Muon and AdamW, and the properties of Newton-Schulz."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.muon import Muon, orthogonalise  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 8), (16, 48), (64, 12), (3, 20, 10)])
def test_newton_schulz_is_close_to_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_newton_schulz_keeps_the_singular_vectors() -> None:
    left = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(1)))[0]
    right = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(2)))[0]
    matrix = left @ torch.diag(torch.linspace(1, 3, 12)) @ right.mT
    turned = left.mT @ orthogonalise(matrix) @ right
    off_diagonal = turned - torch.diag(torch.diagonal(turned))
    assert off_diagonal.abs().max() < 1e-4


def run(optimiser_of, shape: tuple[int, ...], steps: int = 6) -> torch.Tensor:
    parameter = torch.nn.Parameter(torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape).clone())
    optimiser = optimiser_of([parameter])
    generator = torch.Generator().manual_seed(3)
    for _ in range(steps):
        parameter.grad = torch.randn(shape, generator=generator)
        optimiser.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_agrees_with_torch_on_matrices(shape: tuple[int, ...]) -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no torch.optim.Muon to compare with")
    ours = run(lambda p: Muon(p, lr=0.01, weight_decay=0.1, newton_schulz_dtype=torch.bfloat16), shape)
    theirs = run(lambda p: torch.optim.Muon(p, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), shape)
    # Both iterate in bfloat16 but round at different places: compare the way gone, not the last bits.
    start = torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape)
    assert (ours - theirs).norm() < 0.02 * (theirs - start).norm()


def test_convolution_weights_are_updated_as_matrices() -> None:
    four = run(lambda p: Muon(p, lr=0.01), (8, 3, 3, 3))
    two = run(lambda p: Muon(p, lr=0.01), (8, 27))
    assert torch.allclose(four.reshape(8, 27), two, atol=1e-6)


@pytest.mark.parametrize(("shape", "use_muon"), [((10,), True), ((6, 4), False)])
def test_vectors_and_excluded_groups_follow_adamw(shape: tuple[int, ...], use_muon: bool) -> None:
    ours = run(lambda p: Muon([{"params": p, "use_muon": use_muon}], adamw_lr=0.01, weight_decay=0.1), shape)
    theirs = run(lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1), shape)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_decay_bounds_the_spectral_norm() -> None:
    """A gradient that never turns moves the weight to -U V^T * 0.2 sqrt(longer side) / decay and no further."""
    parameter = torch.nn.Parameter(torch.zeros(8, 25))
    optimiser = Muon([parameter], lr=0.01, weight_decay=4.0)
    gradient = torch.randn(8, 25, generator=torch.Generator().manual_seed(5))
    for _ in range(400):
        parameter.grad = gradient.clone()
        optimiser.step()
    values = torch.linalg.svdvals(parameter.detach()) / (0.2 * 5 / 4.0)
    assert values.min() > 0.6 and values.max() < 1.3


def test_state_survives_a_checkpoint() -> None:
    def half_way(parameter: torch.Tensor, optimiser: Muon, generator: torch.Generator, steps: int) -> None:
        for _ in range(steps):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()

    whole = torch.nn.Parameter(torch.ones(6, 5))
    optimiser, generator = Muon([whole]), torch.Generator().manual_seed(4)
    half_way(whole, optimiser, generator, 3)
    resumed = torch.nn.Parameter(whole.detach().clone())
    second = Muon([resumed])
    second.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    state = generator.get_state()
    half_way(whole, optimiser, generator, 3)
    generator.set_state(state)
    half_way(resumed, second, generator, 3)
    assert torch.equal(whole, resumed)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"momentum": 1.0}])
def test_bad_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Muon([torch.nn.Parameter(torch.ones(2, 2))], **wrong)
