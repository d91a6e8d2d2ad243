# SPDX-License-Identifier: Apache-2.0
"""muon-ad clock: its exit code, its text and its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muon_ad_core import cli
from muon_ad_core.commands import clock
from muon_ad_core.timing.ptp.management import DataSet


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PERIOD", 0.01)


def test_a_locked_clock_is_success(ptp4l: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ptp4l.follow()
    assert cli.main(["clock", "--json", "--socket", ptp4l.path, "--seconds", "60"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["state"], facts["port_state"], facts["master_offset_ns"]) == ("LOCKED", "SLAVE", -13)
    assert facts["sync_age_ns"] == 0


def test_what_does_not_lock_is_no_success(ptp4l: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clock", "--once", "--socket", ptp4l.path, "--seconds", "0.1"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("state          UNLOCKED")
    assert "veth1 UNCALIBRATED" in text
    assert "7a67b1.fffe.26e909, steps removed: 1" in text


def test_the_card_s_clock_is_shown_where_it_matters(ptp4l: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ptp4l.patch(DataSet.PORT_PROPERTIES_NP, 11, b"\x01")  # HARDWARE
    arguments = ["--socket", ptp4l.path, "--seconds", "0", "--hardware-clock", "/dev/no_such_clock"]
    assert cli.main(["clock", "--once", *arguments]) == 1
    text = capsys.readouterr().out
    assert "/dev/no_such_clock cannot be read" in text
    assert "not compared" in text


def test_without_ptp4l_it_says_so_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clock", "--socket", str(tmp_path / "ptp4l"), "--seconds", "3600"]) == 1
    assert "ptp4l is not running" in capsys.readouterr().out
