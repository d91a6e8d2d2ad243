# SPDX-License-Identifier: Apache-2.0
"""Trainings do not compute with numbers so small that processors are slow at them; nothing else is changed by that."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.commands.train_loop import denormals_flushed  # noqa: E402


def smallest() -> float:
    return float((torch.full((64,), 1e-38) * 0.01).max())


def test_denormal_numbers_are_zero_while_training_and_come_back() -> None:
    before = smallest()
    with denormals_flushed():
        during = smallest()
    assert during == 0.0
    assert before == smallest() > 0.0
