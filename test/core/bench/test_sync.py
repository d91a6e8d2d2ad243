# SPDX-License-Identifier: Apache-2.0
"""muon-ad bench sync: the simulated cameras, the peers, and the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from muon_ad_core import cli
from muon_ad_core.bench.camera_clocks import Simulation, SimulationConfig, simulate
from muon_ad_core.bench.sync import METHODS
from muon_ad_core.bench.sync_peers import COUNTER_RANGE_MS, GreedyPairing, LibrealsenseFit

CONFIG = SimulationConfig(seconds=180.0, seed=3)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(CONFIG)


def test_frames_come_in_order_and_after_the_least_delay(simulation: Simulation) -> None:
    for stream, camera in ((simulation.usb, CONFIG.usb), (simulation.csi, CONFIG.csi)):
        assert np.all(np.diff(stream.arrival_ns) > 0)
        delay_ms = (stream.arrival_ns - stream.taken_ns) / 1e6
        assert camera.minimum_delay_ms <= delay_ms.min() < camera.minimum_delay_ms + 0.1
        assert delay_ms.max() > camera.minimum_delay_ms + 20.0


def test_drops_are_one_in_a_hundred(simulation: Simulation) -> None:
    frames = CONFIG.seconds * CONFIG.rate_hz
    assert simulation.csi.taken_ns.size / frames == pytest.approx(0.99, abs=0.005)
    running = 1.0 - CONFIG.reset_silence_s / CONFIG.seconds
    assert simulation.usb.taken_ns.size / frames == pytest.approx(0.99 * running, abs=0.005)


def test_the_counter_drifts_wraps_once_and_restarts_once(simulation: Simulation) -> None:
    back = np.flatnonzero(np.diff(simulation.usb.stamp) < 0)
    assert back.size == 2
    assert simulation.usb.stamp[back[1] + 1] < 2_000_000  # microseconds after the restart
    before = slice(0, back[0] + 1)
    counted = np.ptp(simulation.usb.stamp[before]) / (np.ptp(simulation.usb.taken_ns[before]) / 1e3)
    assert counted - 1.0 == pytest.approx(80e-6, abs=2.5e-6)


def test_the_same_seed_gives_the_same_frames(simulation: Simulation) -> None:
    assert np.array_equal(simulation.usb.arrival_ns, simulate(CONFIG).usb.arrival_ns)


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "sync.json"
    assert cli.main(["bench", "sync", "--seconds", "180", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert all(title in text for title in METHODS.values())
    document = json.loads(path.read_text())
    assert (document["schema"], document["schema_version"], document["benchmark"]) == ("muon-ad-benchmark", 2, "sync")
    assert document["config"]["seconds"] == 180.0
    assert document["versions"]["python"]
    summary = document["summary"]
    assert all(isinstance(value, int | float) for value in summary.values())
    assert summary["loss_translated"] <= 0.005
    assert summary["error_p99_ms"] <= 1.0
    assert (summary["future_stamps"], summary["backward_stamps"], summary["unaccounted_frames"]) == (0, 0, 0)
    assert summary["loss_arrival"] > summary["loss_arrival_less_delay"] > summary["loss_translated"]
    for name in ("hull", "kalman", "two_way"):
        figures = document["results"]["methods"][name]
        assert figures["relearnt"] == 1
        assert figures["uncertainty_holds"] >= 0.99


@pytest.mark.parametrize(
    "options", [["--seconds", "5"], ["--seconds", "nan"], ["--seconds", "60", "--json", "/proc/nowhere/sync.json"]]
)
def test_a_mistake_is_one_sentence(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "sync", *options]) == 2
    assert capsys.readouterr().err.startswith("muon-ad bench: --")


def test_the_fit_is_exact_without_delays_also_across_a_wrap() -> None:
    fit = LibrealsenseFit()
    assert fit.host_time(0.0) is None
    for second in range(60):
        host = 1000.0 * second
        device = (COUNTER_RANGE_MS - 30_000.0 + host * 1.00008) % COUNTER_RANGE_MS
        fit.host_time(device)  # a frame is there before the query, as nearly always
        fit.observe_query(host - 0.5, device, host + 0.5)
        if second > 2:
            assert fit.host_time(device) == pytest.approx(host, abs=0.01)


def test_one_slow_query_bends_the_fit() -> None:
    fit = LibrealsenseFit()
    for second in range(20):
        host = 1000.0 * second
        fit.host_time(host)
        fit.observe_query(host - 0.5, host, host + (40.5 if second == 18 else 0.5))
    fit.host_time(20_500.0)
    bent = fit.host_time(20_500.0)
    assert bent is not None and bent - 20_500.0 > 5.0


def test_greedy_pairing_takes_the_nearest_that_is_there() -> None:
    greedy = GreedyPairing(slop_ns=20)
    greedy.add(0, 0, 0)
    greedy.add(1, 15, 0)  # frame 1 of stream 0, one nanosecond from it, is still to come
    greedy.add(0, 16, 1)
    greedy.add(1, 40, 1)
    assert greedy.pairs == [(0, 0)]
