# SPDX-License-Identifier: Apache-2.0
"""The phases of a painting network's training."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.distill.painting_curriculum import PaintingCurriculum, is_last_phase  # noqa: E402


def test_the_recipe_rules_in_phase_1_whatever_the_loss_does() -> None:
    curriculum = PaintingCurriculum()
    for step in range(10):
        curriculum.observe(step / 100, 1.0 + step)
    assert curriculum.factors() == pytest.approx((1, 1))


def test_style_gives_way_while_its_loss_gets_worse_and_comes_back() -> None:
    curriculum = PaintingCurriculum()
    for step in range(20):
        curriculum.observe(0.2 + step / 100, 1.0 + step / 5)
    style, picture = curriculum.factors()
    assert style < 1 < picture
    for step in range(9):
        curriculum.observe(0.4 + step / 100, 1.0)
    assert curriculum.factors()[0] > style


def test_the_last_phase_is_the_second_half() -> None:
    assert [is_last_phase(progress) for progress in (0, 0.49, 0.5, 1)] == [False, False, True, True]


def test_balanced_gradients_are_equally_strong() -> None:
    curriculum = PaintingCurriculum()
    style, picture = [torch.full((1, 4), 3.0)], [torch.full((1, 4), 0.5)]
    assert torch.allclose(curriculum.balanced(style, picture)[0].norm(), picture[0].norm())
