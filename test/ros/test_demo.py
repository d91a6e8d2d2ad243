# SPDX-License-Identifier: Apache-2.0
"""The demo from end to end, short: real processes, real messages, and everything it promises to leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from muon_ad_core.bench.recording import RecordingReader
from muon_ad_core.bench.result_file import read_document
from muon_ad_core.engine.package import find_engine
from muon_ad_core.errors import EngineError

SECONDS = 5.0
PATIENCE = 180.0


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "muon_ad_core.cli", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished demo, and what it printed."""
    for engine in ("student", "detector_pruned"):
        try:
            find_engine(engine)
        except EngineError as error:
            pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = run_demo("--seconds", f"{SECONDS:g}", "--output", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def report(demo: tuple[Path, str]) -> dict[str, Any]:
    return read_document(demo[0] / "report.json")["results"]


def test_the_report_has_its_figures(report: dict[str, Any]) -> None:
    promised = "frames_in frames_stylized loss latency_ms detection_rate_hz drops policies rss_mb imports_torch stalls"
    assert set(promised.split()) <= report.keys()
    assert 0 < report["frames_stylized"] <= report["frames_in"]
    assert report["loss"] == pytest.approx(1 - report["frames_stylized"] / report["frames_in"])
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert report["imports_torch"] is False
    assert {"camera", "style_transfer", "detector", "scheduler", "recorder"} <= report["rss_mb"].keys()
    assert {"camera", "style_transfer", "detector"} <= report["policies"].keys()
    assert report["seconds"] == pytest.approx(SECONDS, abs=1.0)


def test_styles_were_changed_while_frames_flowed(report: dict[str, Any]) -> None:
    changes = [change for change in report["changes"] if change["node"] == "style_transfer"]
    assert len({change["value"] for change in changes if change["parameter"] == "style"}) >= 3
    blends = [change["value"] for change in changes if change["parameter"] == "blend"]
    assert len(blends) > 5 and max(blends) == 1.0


def test_the_recording_holds_pictures_detections_and_timings(demo: tuple[Path, str], report: dict[str, Any]) -> None:
    with RecordingReader(demo[0] / "stylized.mcap") as reader:
        rows = reader.read()
        topics = {
            topic for topic, _, _ in reader.pictures("color/image_raw/compressed", "stylized/image_raw/compressed")
        }
        assert any(True for _ in reader.detections())
    assert len(topics) == 2
    assert len(rows.style_timings) >= report["latency_ms"]["count"] > 0
    assert {status.role for status in rows.statuses} >= {"source", "style", "detection"}


def test_pictures_video_and_page_can_be_opened(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    sheet = cv2.imread(str(folder / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[1] > 900
    video = cv2.VideoCapture(str(folder / "stylized.mp4"))
    readable, frame = video.read()
    assert readable and frame.shape == (480, 1280, 3)
    page = (folder / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert (folder / "report.html").stat().st_size < 5_000_000


def test_it_prints_the_figures_and_what_to_do_next(demo: tuple[Path, str]) -> None:
    _, printed = demo
    for text in ("frames stylised", "p99", "report.html", "stylized.mcap", "muon-ad up joint_task"):
        assert text in printed


def test_an_unknown_style_is_refused_with_one_sentence(demo: tuple[Path, str], tmp_path: Path) -> None:
    done = run_demo("--seconds", "3", "--output", str(tmp_path / "out"), "--style", "no_such_style")
    assert done.returncode == 2
    assert "no_such_style" in done.stderr and "unknown" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("seconds", ["0", "1e9"])
def test_a_senseless_length_is_refused(seconds: str, tmp_path: Path) -> None:
    done = run_demo("--seconds", seconds, "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "--seconds" in done.stderr


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = run_demo("--output", str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr and os.linesep not in done.stderr.strip()
