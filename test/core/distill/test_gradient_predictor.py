# SPDX-License-Identifier: Apache-2.0
"""Gradient prediction: its gate, what it learns, and its state."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.gradient_predictor import WARM_UP, GradientPredictor  # noqa: E402


def noise(seed: int) -> list[torch.Tensor]:
    return [torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))]


def test_steady_gradients_are_predicted_two_of_five_times() -> None:
    latent, gradient = noise(0), noise(1)
    predictor = GradientPredictor(latent, "momentum")
    for step in range(WARM_UP):
        assert not predictor.replaces(step)
        predictor.observe(latent, 0.0, gradient)
    assert predictor.trusted
    assert [predictor.replaces(step) for step in range(10, 20)] == [False, False, False, True, True] * 2
    assert torch.allclose(predictor.predict(latent, 0.5)[0], gradient[0], atol=1e-5)
    assert predictor.saved == 1


@pytest.mark.parametrize("kind", ["network", "momentum"])
def test_the_gate_stays_shut_for_noise(kind: str) -> None:
    predictor = GradientPredictor(noise(0), kind)
    for step in range(2 * WARM_UP):
        predictor.observe(noise(0), 0.0, noise(step))
    assert predictor.cosine < 0.5
    assert not any(predictor.replaces(step) for step in range(10))


def test_the_gate_shuts_again_when_gradients_turn_erratic() -> None:
    latent = noise(0)
    predictor = GradientPredictor(latent, "network")
    for _ in range(WARM_UP):
        predictor.observe(latent, 0.0, noise(1))
    assert predictor.trusted
    for step in range(20):
        predictor.observe(latent, 0.5, noise(step + 10))
    assert not predictor.trusted


def test_the_network_learns_what_momentum_cannot_know() -> None:
    """Gradients that depend on the latent alone, which is new at every step: the EMA says nothing about them."""
    predictor = GradientPredictor(noise(0), "network", rate=1e-2)
    for step in range(250):
        latent = noise(step)
        predictor.observe(latent, 0.0, [2 * latent[0]])
    assert predictor.baseline_cosine < 0.6
    assert predictor.cosine > predictor.baseline_cosine + 0.2


def test_a_restored_predictor_predicts_alike() -> None:
    first = GradientPredictor(noise(0), "network", seed=3)
    for step in range(5):
        first.observe(noise(step), 0.1, noise(step + 1))
    second = GradientPredictor(noise(0), "network", seed=4)
    second.load_state_dict(first.state_dict())
    for predictor in (first, second):
        predictor.observe(noise(7), 0.2, noise(8))
    assert torch.equal(first.predict(noise(9), 0.3)[0], second.predict(noise(9), 0.3)[0])
    assert (first.cosine, first.seen, first.saved) == (second.cosine, second.seen, second.saved)
    with pytest.raises(ValueError, match="of kind network"):
        GradientPredictor(noise(0), "momentum").load_state_dict(first.state_dict())


def test_making_one_leaves_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    GradientPredictor(noise(0), "network")
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        GradientPredictor(noise(0), "oracle")
