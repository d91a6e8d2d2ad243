# SPDX-License-Identifier: Apache-2.0
"""Trainings do not compute with numbers so small that processors are slow at them."""

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the making wing needs PyTorch")

PROGRAM = """
import torch
from muon_ad_core.commands.train_loop import prepare_processor
small = torch.full((64,), 1e-38)
before = (small * 0.01).max().item()
prepare_processor(1)
print(before > 0.0, (small * 0.01).max().item() == 0.0, torch.get_num_threads())
"""


def test_denormal_numbers_become_zero() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == ["True", "True", "1"]
