# SPDX-License-Identifier: Apache-2.0
"""The monitor: a stand-in for ptp4l, a described machine, and what it makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muon_ad_core.timing.ptp.management import DataSet
from muon_ad_core.timing.ptp.monitor import PtpMonitor, PtpSettings, is_running
from muon_ad_core.timing.ptp.state import ClockLimits, ClockState


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with one process, phc2sys."""
    (tmp_path / "proc" / "42").mkdir(parents=True)
    (tmp_path / "proc" / "42" / "comm").write_text("phc2sys\n")
    return tmp_path / "proc"


def test_locked_by_replies_of_a_real_ptp4l(ptp4l: Any, proc: Path) -> None:
    monitor = PtpMonitor(PtpSettings(ptp4l.path), ClockLimits(samples=3), proc)
    ptp4l.follow()
    reports = [monitor.look() for _ in range(4)]
    assert [report.judgement.state for report in reports][-2:] == [ClockState.LOCKING, ClockState.LOCKED]
    assert (reports[-1].timestamping, reports[-1].hardware_clock) == ("SOFTWARE", "")
    assert not reports[-1].observation.needs_phc2sys


def test_limits_change_while_it_runs(ptp4l: Any, proc: Path) -> None:
    monitor = PtpMonitor(PtpSettings(ptp4l.path), ClockLimits(samples=2), proc)
    ptp4l.follow()
    assert [monitor.look().judgement.state for _ in range(3)][-1] == ClockState.LOCKED
    monitor.limits = ClockLimits(samples=2, lock_offset_ns=1, unlock_offset_ns=1)  # the recorded offset is -13 ns
    assert [monitor.look().judgement.state for _ in range(2)][-1] == ClockState.LOCKING


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
