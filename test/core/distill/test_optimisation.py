# SPDX-License-Identifier: Apache-2.0
"""One optimisation over latents and weights: it converges, resumes bit for bit, and reports what it did."""

import io
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.gradient_geometry import inner  # noqa: E402
from muon_ad_core.distill.optimisation import (  # noqa: E402
    DivergedError,
    LatentOptimisation,
    Optimisation,
    StepStatistics,
    WeightOptimisation,
)
from muon_ad_core.distill.optimisation_settings import OptimisationSettings  # noqa: E402
from muon_ad_core.errors import UserError  # noqa: E402

EVERYTHING = dict(
    projection="second_moment", orthogonal=True, keep_norm=True, curriculum=True, prediction="network",
    schedule="early", second_moment="eigenbasis",
)  # fmt: skip


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


MIX, STYLE, CONTENT = random(4, 4, seed=1), random(2, 4, 6, 6, seed=2), random(2, 4, 6, 6, seed=3)


def objective(latent: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two quadratic losses that disagree."""
    mixed = torch.einsum("ij,bjhw->bihw", MIX, latent)
    return (mixed - STYLE).square().mean(), (latent - CONTENT).square().mean()


def run(optimisation: Optimisation, steps: int, objective: Any = objective) -> list[StepStatistics]:
    return [optimisation.step(objective) for _ in range(steps)]


@pytest.mark.parametrize("settings", [
    dict(optimizer="adamw"), dict(optimizer="adam"), dict(optimizer="sgd"), dict(view="c_hw"), dict(view="ch_w"),
    dict(view="patch", patch=3), dict(second_moment="eigenbasis"), dict(second_moment="rows"), EVERYTHING,
])  # fmt: skip
def test_every_optimiser_lowers_the_loss(settings: dict[str, Any]) -> None:
    optimisation = LatentOptimisation(CONTENT.clone(), OptimisationSettings(steps=40, **settings))
    losses = [row.loss for row in run(optimisation, 40) if row.loss is not None]
    assert min(losses[-3:]) < 0.8 * losses[0]


@pytest.mark.parametrize(("optimizer", "theirs"), [
    ("adam", lambda p: torch.optim.Adam(p, lr=0.05)),
    ("adamw", lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.01)),
    ("sgd", lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9)),
])  # fmt: skip
def test_baselines_agree_with_torch(optimizer: str, theirs: Any) -> None:
    optimisation = LatentOptimisation(CONTENT.clone(), OptimisationSettings(optimizer))
    parameter = torch.nn.Parameter(CONTENT.clone())
    reference = theirs([parameter])
    for step in range(5):
        optimisation.step(objective)
        reference.zero_grad()
        style, content = objective(parameter, step)
        (style + 0.25 * content).backward()
        reference.step()
    assert torch.allclose(optimisation.latent, parameter, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, dict(optimizer="adamw"), EVERYTHING])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(settings: dict[str, Any]) -> None:
    chosen = OptimisationSettings(steps=40, **settings)
    whole = LatentOptimisation(CONTENT.clone(), chosen)
    run(whole, 23)
    stream = io.BytesIO()
    torch.save(whole.state_dict(), stream)
    expected = run(whole, 17)
    stream.seek(0)
    resumed = LatentOptimisation(torch.zeros_like(CONTENT), chosen)
    resumed.load_state_dict(torch.load(stream, weights_only=True))
    assert run(resumed, 17) == expected
    assert torch.equal(resumed.latent, whole.latent)


def test_equal_seeds_give_equal_runs() -> None:
    chosen = OptimisationSettings(steps=30, seed=4, **EVERYTHING)
    a, b = (LatentOptimisation(CONTENT.clone(), chosen) for _ in range(2))
    assert run(a, 30) == run(b, 30)
    assert torch.equal(a.latent, b.latent)


def test_a_saved_run_with_other_settings_or_sizes_is_refused() -> None:
    state = LatentOptimisation(CONTENT.clone(), OptimisationSettings(steps=40)).state_dict()
    with pytest.raises(UserError, match="other settings"):
        LatentOptimisation(CONTENT.clone(), OptimisationSettings(steps=41)).load_state_dict(state)
    with pytest.raises(UserError, match="another size"):
        LatentOptimisation(CONTENT[:1].clone(), OptimisationSettings(steps=40)).load_state_dict(state)


def test_samples_of_a_batch_are_updated_as_if_alone() -> None:
    chosen = OptimisationSettings(steps=10, projection="plain", orthogonal=True)
    both = LatentOptimisation(CONTENT.clone(), chosen)
    alone = LatentOptimisation(CONTENT[1].clone(), chosen)
    run(both, 10)
    # The alone objective is the batch's share of sample 1: means over two samples are halves.
    run(alone, 10, lambda z, step: tuple(2 * x for x in _of_second(z)))
    assert alone.latent.shape == CONTENT[1].shape
    assert torch.allclose(both.latent[1], alone.latent, atol=1e-4)


def _of_second(latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mixed = torch.einsum("ij,jhw->ihw", MIX, latent)
    return (mixed - STYLE[1]).square().mean() / 2, (latent - CONTENT[1]).square().mean() / 2


def test_predicted_steps_do_not_call_the_objective() -> None:
    calls = []

    def counted(latent: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(step)
        return objective(latent, step)

    chosen = OptimisationSettings(steps=40, prediction="momentum", learning_rate=0.01)
    rows = run(LatentOptimisation(CONTENT.clone(), chosen), 40, counted)
    predicted = [row.step for row in rows if row.loss is None]
    assert predicted and rows[-1].saved_backward_passes == len(predicted) == 40 - len(calls)
    assert not set(predicted) & set(calls)
    assert rows[-1].backward_passes == len(calls)


def test_projection_is_reported_and_ends_conflicts() -> None:
    def opposed(latent: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (latent * STYLE).sum(), (-latent * (STYLE + 0.1 * CONTENT)).sum()

    def rows_with(**settings: Any) -> list[StepStatistics]:
        chosen = OptimisationSettings(content_weight=1.0, **settings)
        return run(LatentOptimisation(CONTENT.clone(), chosen), 3, opposed)

    for row in rows_with(projection="plain"):
        assert (row.conflict_rate, row.conflict_rate_after) == (1.0, 0.0)
        assert row.cosine < -0.9
    for row in rows_with(measure_conflicts=True):
        assert (row.conflict_rate, row.conflict_rate_after) == (1.0, 1.0)
    assert all(row.conflict_rate is None for row in rows_with())


def test_steps_keep_a_right_angle_to_the_latent_and_its_norm() -> None:
    optimisation = LatentOptimisation(CONTENT.clone(), OptimisationSettings(orthogonal=True))
    optimisation.step(objective)
    change = [optimisation.latent.detach() - CONTENT]
    assert (inner(change, [CONTENT]).abs() < 1e-4 * inner([CONTENT], [CONTENT])).all()
    kept = LatentOptimisation(CONTENT.clone(), OptimisationSettings(orthogonal=True, keep_norm=True))
    run(kept, 5)
    assert torch.allclose(kept.latent.norm(), CONTENT.norm(), rtol=1e-4)


def test_the_curriculum_sets_weights_and_learning_rate() -> None:
    rows = run(LatentOptimisation(CONTENT.clone(), OptimisationSettings(steps=30, curriculum=True)), 30)
    assert all(row.style_weight + row.content_weight == pytest.approx(1) for row in rows)
    assert rows[0].style_weight == pytest.approx(0.8)
    assert rows[-1].learning_rate < 0.2 * rows[0].learning_rate


def test_a_pyramid_and_a_texture() -> None:
    pyramid = [random(3, 4, 4, seed=1), random(3, 8, 8, seed=2)]

    def texture(levels: list[torch.Tensor], step: int) -> tuple[torch.Tensor, None]:
        large = torch.nn.functional.interpolate(levels[0][None], scale_factor=2.0)[0]
        return (large + levels[1] - 1).square().mean(), None

    optimisation = LatentOptimisation(pyramid, OptimisationSettings(steps=60, curriculum=True, orthogonal=True))
    rows = run(optimisation, 60, texture)
    assert rows[-1].loss < 0.5 * rows[0].loss
    assert [level.shape for level in optimisation.latent] == [(3, 4, 4), (3, 8, 8)]


def test_weights_of_a_network_are_optimised_by_the_same_steps() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1))

    def distilled(weights: list[torch.Tensor], step: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = network(CONTENT)
        return (found - STYLE).square().mean(), (found - CONTENT).square().mean()

    chosen = OptimisationSettings(steps=30, projection="plain", orthogonal=True, learning_rate=0.02)
    rows = run(WeightOptimisation(list(network.parameters()), chosen), 30, distilled)
    assert rows[-1].loss < rows[0].loss
    with pytest.raises(ValueError, match="cannot be predicted"):
        WeightOptimisation(list(network.parameters()), OptimisationSettings(prediction="network"))


def test_losses_that_are_not_finite_stop_the_run() -> None:
    optimisation = LatentOptimisation(CONTENT.clone(), OptimisationSettings())
    with pytest.raises(DivergedError, match="lower the learning rate"):
        optimisation.step(lambda latent, step: (latent.sum() * float("nan"), None))


@pytest.mark.parametrize("wrong", [
    dict(optimizer="adagrad"), dict(view="hw_c"), dict(projection="half"), dict(schedule="stairs"), dict(steps=0),
    dict(learning_rate=0.0), dict(content_weight=-1.0), dict(second_moment="third"),
])  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        OptimisationSettings(**wrong)


def test_a_latent_of_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        LatentOptimisation(CONTENT.bfloat16(), OptimisationSettings())
