# SPDX-License-Identifier: Apache-2.0
"""GPU and power figures from the texts of the tools that tell them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from muon_ad_core.bench.power import PowerMeter
from muon_ad_core.machine import Machine

TEGRASTATS = "RAM 5012/15389MB CPU [12%@1190] GR3D_FREQ 37% VDD_IN 11234mW/11000mW VDD_CPU_GPU_CV 3000mW/3000mW"


class FakeMachine(Machine):
    """Has only the tools whose output it was given."""

    def __init__(self, outputs: dict[str, str]) -> None:
        super().__init__()
        self._outputs = outputs

    def which(self, program: str) -> str | None:
        return program if program in self._outputs else None

    def output(self, command: Sequence[str]) -> str:
        return next(text for program, text in self._outputs.items() if program in " ".join(command))


def test_a_system_that_reports_nothing_gives_nothing(tmp_path: Path) -> None:
    meter = PowerMeter(FakeMachine({}), tmp_path)
    meter.start()
    assert meter.read() == {}


def test_nvidia_smi_with_an_unknown_figure(tmp_path: Path) -> None:
    figures = PowerMeter(FakeMachine({"nvidia-smi": "41, 2048, [N/A], 55\n"}), tmp_path).read()
    assert figures == {"gpu_percent": 41.0, "gpu_memory_mb": 2048.0, "gpu_celsius": 55.0}


def test_tegrastats(tmp_path: Path) -> None:
    figures = PowerMeter(FakeMachine({"tegrastats": TEGRASTATS}), tmp_path).read()
    assert figures == {"gpu_percent": 37.0, "ram_mb": 5012.0, "board_power_w": pytest.approx(11.234)}


def test_rapl_counts_packages_once(tmp_path: Path) -> None:
    for zone in ("intel-rapl:0", "intel-rapl:0:0"):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text("1000000\n")
    meter = PowerMeter(FakeMachine({}), tmp_path)
    meter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("900000000\n")
    figures = meter.read()
    assert set(figures) == {"processor_power_w"}
    assert figures["processor_power_w"] > 0.0
