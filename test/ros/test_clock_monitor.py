# SPDX-License-Identifier: Apache-2.0
"""clock_monitor over real DDS, against a stand-in for ptp4l that sends recorded replies."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from muon_ad_msgs.msg import ClockStatus

from muon_ad_core.machine import CHECKOUT
from muon_ad_core.timing.ptp.state import ClockState

FAST = {"rate": 10.0, "samples": 3, "sync_timeout": 5.0, "holdover": 5.0}


def stand_in_at(path: Path) -> Any:
    """The stand-in of the timing tests."""
    file = CHECKOUT / "test/core/timing/ptp/conftest.py"
    spec = importlib.util.spec_from_file_location("ptp4l_stand_in", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StandInPtp4l(path)


@pytest.fixture(scope="module")
def ptp4l(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    stand_in = stand_in_at(tmp_path_factory.mktemp("ptp") / "ptp4l")
    yield stand_in
    stand_in.close()


@pytest.fixture(scope="module")
def node(start_node: Any, ptp4l: Any) -> Any:
    return start_node("clock_monitor", {"socket": ptp4l.path, **FAST})


@pytest.fixture(scope="module")
def statuses(node: Any, probe: Any) -> list[ClockStatus]:
    return probe.listen(f"{node.namespace}/clock/status", ClockStatus)


@pytest.fixture(scope="module")
def diagnostics(node: Any, probe: Any) -> list[DiagnosticArray]:
    return probe.listen("/diagnostics", DiagnosticArray)


def test_the_states_are_those_of_the_message() -> None:
    assert {state.name: int(state) for state in ClockState} == {
        name: getattr(ClockStatus, name) for name in ClockState.__members__
    }


def test_lock_is_reported_and_so_is_its_loss(
    node: Any, ptp4l: Any, statuses: list[ClockStatus], diagnostics: list[DiagnosticArray], wait_until: Any
) -> None:
    def latest(state: int) -> ClockStatus | None:
        """The newest status, if it has the state and ptp4l answered in time."""
        return statuses[-1] if statuses and statuses[-1].state == state and statuses[-1].port_state else None

    wait_until(lambda: latest(ClockStatus.UNLOCKED), "the state UNLOCKED")
    ptp4l.follow()
    status = wait_until(lambda: latest(ClockStatus.LOCKED), "the state LOCKED")
    assert (status.port_state, status.grandmaster) == ("SLAVE", "7a67b1.fffe.26e909")
    assert (status.master_offset_ns, status.path_delay_ns, status.timestamping) == (-13, 1653, "SOFTWARE")
    assert (status.utc_offset_s, status.utc_offset_valid, status.ptp_timescale) == (37, False, False)
    assert not status.system_offset_known
    assert 0 <= status.sync_age_ns <= 5_000_000_000

    ptp4l.master_lives = False
    status = wait_until(lambda: latest(ClockStatus.FAULT), "the state FAULT")
    assert "no sync message" in status.reason

    def diagnostic() -> Any:
        name = f"{node.name.lstrip('/')}: PTP"
        found = [entry for array in diagnostics for entry in array.status if entry.name == name]
        return next((entry for entry in found if entry.level == DiagnosticStatus.ERROR), None)

    fault = wait_until(diagnostic, "a diagnostic of the fault")
    assert fault.message.startswith("FAULT: ")
    values = {entry.key: entry.value for entry in fault.values}
    assert (values["state"], values["port_state"]) == ("FAULT", "SLAVE")


def test_parameters_change_live_and_contradictions_are_refused(
    node: Any, probe: Any, statuses: list[ClockStatus], wait_until: Any, tmp_path: Path
) -> None:
    refused = probe.set_parameter(node.name, "unlock_offset_us", 10.0)
    assert not refused.successful and "lock_offset_us" in refused.reason
    refused = probe.set_parameter(node.name, "holdover", 0.5)
    assert not refused.successful and "sync_timeout" in refused.reason
    assert probe.set_parameter(node.name, "rate", 5.0).successful
    assert probe.set_parameter(node.name, "socket", str(tmp_path / "elsewhere")).successful
    wait_until(lambda: "not running" in statuses[-1].reason, "the new socket in use")


def test_without_ptp4l_the_reason_says_what_to_do(start_node: Any, probe: Any, wait_until: Any, tmp_path: Path) -> None:
    node = start_node("clock_monitor", {"socket": str(tmp_path / "ptp4l")}, namespace="test_clock_monitor_alone")
    statuses = probe.listen(f"{node.namespace}/clock/status", ClockStatus)
    wait_until(lambda: statuses, "a status")
    assert statuses[-1].state == ClockStatus.UNAVAILABLE
    assert "ptp4l is not running (see docs/ptp.md)" in statuses[-1].reason
    assert statuses[-1].sync_age_ns == -1


def test_contradictory_parameters_at_the_start_are_one_sentence(start_node: Any) -> None:
    parameters = {"lock_offset_us": 100.0, "unlock_offset_us": 1.0}
    node = start_node("clock_monitor", parameters, namespace="test_clock_monitor_contradiction")
    assert node.wait() == 2
    assert "unlock_offset_us is below lock_offset_us" in node.log
    assert "Traceback" not in node.log
