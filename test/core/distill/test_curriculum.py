# SPDX-License-Identifier: Apache-2.0
"""The curriculum's phases, weights, learning rates and retention, and the schedules."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.compress.retention import phase, retention
from muon_ad_core.distill.curriculum import Curriculum, rate_factor
from muon_ad_core.distill.schedules import LEAST, SCHEDULES, schedule_factor

PROGRESS = st.floats(0, 1)


def test_phases_end_where_the_paper_ends_them() -> None:
    iterations = {0: 1, 499: 1, 500: 2, 1499: 2, 1500: 3, 3000: 3}
    assert {step: phase(step / 3000) for step in iterations} == iterations


def test_retention_falls_from_95_to_40_percent() -> None:
    assert (retention(0), retention(0.5), retention(1)) == pytest.approx((0.95, 0.675, 0.40))


@given(PROGRESS, PROGRESS)
def test_nothing_rises_over_a_run(a: float, b: float) -> None:
    early, late = sorted((a, b))
    assert retention(early) >= retention(late)
    assert rate_factor(early) >= rate_factor(late) >= 0.1 - 1e-9
    for name in SCHEDULES:
        assert 1 >= schedule_factor(name, early) >= schedule_factor(name, late) >= LEAST * (1 - 1e-9)


def test_the_learning_rate_ends_at_a_tenth() -> None:
    assert (rate_factor(0.49), rate_factor(0.5), rate_factor(0.75), rate_factor(1)) == pytest.approx((1, 1, 0.55, 0.1))


@pytest.mark.parametrize("wrong", [-0.01, 1.01, math.nan])
def test_progress_outside_a_run_is_refused(wrong: float) -> None:
    for function in (retention, phase, rate_factor):
        with pytest.raises(ValueError, match="progress"):
            function(wrong)


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule must be one of"):
        schedule_factor("stairs", 0.5)


def test_the_style_weight_moves_in_phase_two_only() -> None:
    curriculum = Curriculum(steps=60, decay=0.0)
    for step in range(10):  # phase 1
        curriculum.observe(step, 100.0 + 3 * step)
    assert curriculum.style_weight == 0.8
    curriculum.observe(10, 137.0)  # phase 2; the figure went from 127 to 137
    assert curriculum.style_weight == pytest.approx(0.8 * math.exp(-0.05 * 10))
    assert curriculum.content_weight == pytest.approx(1 - curriculum.style_weight)
    curriculum.observe(40, 500.0)  # phase 3
    assert curriculum.style_weight == pytest.approx(0.8 * math.exp(-0.05 * 10))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_the_style_weight_stays_within_its_bounds(figures: list[float]) -> None:
    curriculum = Curriculum(steps=1000)
    for figure in figures:
        curriculum.observe(200, figure)
        assert 0.2 <= curriculum.style_weight <= 0.8


def test_a_texture_keeps_all_weight_on_style() -> None:
    curriculum = Curriculum(steps=10, start=1.0, decay=0.0)
    curriculum.observe_style_loss(2, 5.0)
    curriculum.observe_style_loss(3, 4.0)
    assert curriculum.style_weight == 1.0


def test_a_restored_curriculum_goes_on_alike() -> None:
    first = Curriculum(steps=20)
    for step in range(6):
        first.observe_style_loss(step, 1.0 + 0.01 * step)
    second = Curriculum(steps=20)
    second.load_state_dict(first.state_dict())
    for curriculum in (first, second):
        curriculum.observe_style_loss(6, 1.4)
    assert first.style_weight == second.style_weight < 0.8
    with pytest.raises(ValueError, match="other settings"):
        Curriculum(steps=21).load_state_dict(first.state_dict())
