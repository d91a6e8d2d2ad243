# SPDX-License-Identifier: Apache-2.0
"""GPU use and electrical power, where the system reports them: nvidia-smi, tegrastats, or RAPL counters."""

from __future__ import annotations

import re
import time
from pathlib import Path

from muon_ad_core.machine import Machine

RAPL = Path("/sys/class/powercap")
NVIDIA_FIELDS = {
    "gpu_percent": "utilization.gpu",
    "gpu_memory_mb": "memory.used",
    "gpu_power_w": "power.draw",
    "gpu_celsius": "temperature.gpu",
}


class PowerMeter:
    """Reads what there is; `start`, then `read` at the end of a measurement."""

    def __init__(self, machine: Machine | None = None, rapl: Path = RAPL) -> None:
        self._machine = machine or Machine()
        self._rapl = rapl
        self._energy_uj: dict[Path, int] = {}
        self._began = time.monotonic()

    def start(self) -> None:
        """Begin to count energy."""
        self._energy_uj, self._began = self._read_energy(), time.monotonic()

    def read(self) -> dict[str, float]:
        """Mean processor power since `start`, and what GPU tools say now; without what this system does not report."""
        return {**self._processor_power(), **self._nvidia(), **self._tegra()}

    def _processor_power(self) -> dict[str, float]:
        seconds = time.monotonic() - self._began
        now = self._read_energy()
        used = [now[zone] - before for zone, before in self._energy_uj.items() if zone in now and now[zone] >= before]
        return {"processor_power_w": sum(used) / 1e6 / seconds} if used and seconds > 0 else {}

    def _read_energy(self) -> dict[Path, int]:
        """Energy counters of the processor packages (top-level zones)."""
        counters = {}
        for zone in self._rapl.glob("*:[0-9]*"):
            text = self._machine.read(zone / "energy_uj").strip()
            if text.isdigit() and zone.name.count(":") == 1:
                counters[zone] = int(text)
        return counters

    def _nvidia(self) -> dict[str, float]:
        if not self._machine.which("nvidia-smi"):
            return {}
        fields = ",".join(NVIDIA_FIELDS.values())
        text = self._machine.output(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
        first = text.splitlines()[0].split(",") if text.strip() else []
        return {name: float(value) for name, value in zip(NVIDIA_FIELDS, first) if re.fullmatch(r"\s*[\d.]+\s*", value)}

    def _tegra(self) -> dict[str, float]:
        """One line of tegrastats, which prints one a second until it is ended."""
        if not self._machine.which("tegrastats"):
            return {}
        line = self._machine.output(["sh", "-c", "tegrastats --interval 500 | head -n 1"])
        patterns = {"gpu_percent": r"GR3D_FREQ (\d+)%", "board_power_mw": r"VDD_IN (\d+)mW", "ram_mb": r"RAM (\d+)/"}
        found = {name: match for name, pattern in patterns.items() if (match := re.search(pattern, line))}
        values = {name: float(match[1]) for name, match in found.items()}
        if "board_power_mw" in values:
            values["board_power_w"] = values.pop("board_power_mw") / 1e3
        return values
