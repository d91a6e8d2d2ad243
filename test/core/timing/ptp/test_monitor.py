# SPDX-License-Identifier: Apache-2.0
"""The monitor: a stand-in for ptp4l, a described machine, and what it makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muon_ad_core.timing.ptp.management import DataSet, PortState
from muon_ad_core.timing.ptp.monitor import ClockReport, PtpMonitor, PtpSettings, is_running
from muon_ad_core.timing.ptp.state import ClockLimits, ClockState

INGRESS = 8  # offset of ingress_time in TIME_STATUS_NP
STATE = 10  # of portState in PORT_DATA_SET


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with one process, phc2sys."""
    (tmp_path / "proc" / "42").mkdir(parents=True)
    (tmp_path / "proc" / "42" / "comm").write_text("phc2sys\n")
    return tmp_path / "proc"


def follow_master(ptp4l: Any, monitor: PtpMonitor, looks: int) -> list[ClockReport]:
    """Look while sync messages come in."""
    ptp4l.patch(DataSet.PORT, STATE, bytes([PortState.SLAVE]))
    reports = []
    for number in range(1, looks + 1):
        ptp4l.patch(DataSet.TIME_STATUS_NP, INGRESS, number.to_bytes(8, "big"))
        reports.append(monitor.look())
    return reports


def test_locked_by_replies_of_a_real_ptp4l(ptp4l: Any, proc: Path) -> None:
    monitor = PtpMonitor(PtpSettings(ptp4l.path), ClockLimits(samples=3), proc)
    reports = follow_master(ptp4l, monitor, 4)
    assert [report.judgement.state for report in reports][-2:] == [ClockState.LOCKING, ClockState.LOCKED]
    assert (reports[-1].timestamping, reports[-1].hardware_clock) == ("SOFTWARE", "")
    assert not reports[-1].observation.needs_phc2sys


def test_limits_change_while_it_runs(ptp4l: Any, proc: Path) -> None:
    monitor = PtpMonitor(PtpSettings(ptp4l.path), ClockLimits(samples=2), proc)
    assert follow_master(ptp4l, monitor, 3)[-1].judgement.state == ClockState.LOCKED
    monitor.limits = ClockLimits(samples=2, lock_offset_ns=1, unlock_offset_ns=1)  # the recorded offset is -13 ns
    ptp4l.patch(DataSet.TIME_STATUS_NP, INGRESS, (99).to_bytes(8, "big"))
    monitor.look()
    ptp4l.patch(DataSet.TIME_STATUS_NP, INGRESS, (100).to_bytes(8, "big"))
    assert monitor.look().judgement.state == ClockState.LOCKING


def test_a_chosen_clock_that_cannot_be_read_is_said(ptp4l: Any, proc: Path) -> None:
    settings = PtpSettings(ptp4l.path, hardware_clock=str(proc / "ptp9"))
    report = PtpMonitor(settings, ClockLimits(), proc).look()
    assert report.observation.needs_phc2sys and report.observation.phc2sys_running
    assert report.observation.system_offset_ns is None
    assert "No such file" in report.hardware_clock_failure


def test_hardware_time_stamping_needs_phc2sys_unless_told_otherwise(ptp4l: Any, tmp_path: Path) -> None:
    ptp4l.patch(DataSet.PORT_PROPERTIES_NP, 11, b"\x01")  # HARDWARE
    report = PtpMonitor(PtpSettings(ptp4l.path), ClockLimits(), tmp_path).look()
    assert (report.timestamping, report.observation.needs_phc2sys) == ("HARDWARE", True)
    assert not report.observation.phc2sys_running
    report = PtpMonitor(PtpSettings(ptp4l.path, hardware_clock="none"), ClockLimits(), tmp_path).look()
    assert not report.observation.needs_phc2sys


def test_without_ptp4l(tmp_path: Path) -> None:
    report = PtpMonitor(PtpSettings(str(tmp_path / "ptp4l")), ClockLimits()).look()
    assert report.judgement.state == ClockState.UNAVAILABLE
    assert "not running" in report.judgement.reason


def test_processes_are_found_by_name(proc: Path) -> None:
    assert is_running("phc2sys", proc)
    assert not is_running("ptp4l", proc)
