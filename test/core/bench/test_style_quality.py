# SPDX-License-Identifier: Apache-2.0
"""The quality benchmark on the shipped student."""

from __future__ import annotations

from pathlib import Path

import pytest

from muon_ad_core import cli
from muon_ad_core.bench.result_file import read_document
from muon_ad_core.engine.package import find_engine
from muon_ad_core.errors import EngineError


def test_every_style_is_measured_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        find_engine("student")
    except EngineError as error:
        pytest.skip(str(error))
    assert cli.main(["bench", "quality", "--json", str(tmp_path / "quality.json")]) == 0
    document = read_document(tmp_path / "quality.json")
    summary = document["summary"]
    assert 0.0 < summary["ssim"] < 1.0 and summary["psnr"] > 0.0
    assert summary["image_time_s"] > 0.0 and summary["parameters"] > 0
    styles = len(document["samples"]["ssim"]["runs"][0]) / len(document["config"]["photographs"])
    assert styles >= 1 and styles == int(styles)
    assert document["pictures"][0]["caption"].count(",") == styles


def test_an_unknown_engine_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "quality", "--engine", "no_such_engine"]) == 2
    assert "no_such_engine" in capsys.readouterr().err
