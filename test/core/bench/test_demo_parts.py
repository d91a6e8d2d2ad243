# SPDX-License-Identifier: Apache-2.0
"""The tour, the choice of moments, the witness, the process monitor, the contact sheet and the video."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.bench.contact_sheet import SheetRow, draw_sheet
from muon_ad_core.bench.demo_results import choose_moments, style_at
from muon_ad_core.bench.machine_facts import describe_machine
from muon_ad_core.bench.processes import ProcessMonitor, ProcessSample, has_torch_loaded
from muon_ad_core.bench.tour import choose_styles, plan_tour
from muon_ad_core.bench.witness import Stall, Stalls, Witness


def test_a_tour_shows_every_style_and_sweeps_a_blend_in_time() -> None:
    steps = plan_tour(["a", "b", "c", "d"], 20.0)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[0].at == 0.0 and steps[-1].at < 20.0
    styles = [step.parameters["style"] for step in steps if "style" in step.parameters]
    assert styles == ["a", "b", "c", "d"]
    blends = [step.parameters["blend"] for step in steps if step.parameters.get("style_b") == "d"]
    assert blends == sorted(blends) and blends[-1] == 1.0
    assert any(step.parameters.get("strength") == 0.5 for step in steps)


def test_a_tour_of_one_style_keeps_it() -> None:
    (step,) = plan_tour(["a"], 5.0)
    assert step.parameters["style"] == "a"


@pytest.mark.parametrize(("styles", "seconds"), [([], 5.0), (["a"], 0.0)])
def test_a_tour_needs_styles_and_time(styles: list[str], seconds: float) -> None:
    with pytest.raises(ValueError):
        plan_tour(styles, seconds)


def test_styles_are_spread_over_the_list() -> None:
    assert choose_styles([str(number) for number in range(10)]) == ["0", "3", "6", "9"]
    assert choose_styles(["x", "y"]) == ["x", "y"]


def test_moments_are_one_for_each_style_and_prefer_searched_frames() -> None:
    instants = {(number, "camera"): number / 10 for number in range(100)}
    segments = [(0.0, 2.5, "a"), (2.5, 5.0, "b"), (5.0, 7.5, "c"), (7.5, 10.0, "d")]
    searched = {(14, "camera"), (37, "camera"), (99, "camera")}
    assert [key[0] for key in choose_moments(instants, segments, searched)] == [14, 37, 62, 99]
    assert len(choose_moments(instants, [(0.0, 10.0, "a")], searched)) == 4


def test_style_at_an_instant() -> None:
    segments = [(0.0, 2.0, "a"), (2.0, 4.0, "b")]
    assert [style_at(segments, at) for at in (-1.0, 0.0, 1.9, 2.0, 9.0)] == ["", "a", "a", "b", "b"]


def test_the_witness_reports_the_policy_it_got_and_sees_its_own_process_stopped() -> None:
    with Witness() as witness:
        time.sleep(1.0)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        names = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        pid = next(int(pid) for pid, name in names.items() if "bench.witness" in name)
        os.kill(pid, 19)  # SIGSTOP
        time.sleep(0.3)
        os.kill(pid, 18)  # SIGCONT
        time.sleep(0.1)
    assert witness.stalls.policy.split()[0] in ("FIFO", "OTHER")
    assert max(stall.milliseconds for stall in witness.stalls.events) > 200.0


def test_stalls_of_a_span() -> None:
    stalls = Stalls("OTHER", 5.0, [Stall(10, 6.0), Stall(20, 7.0)])
    assert stalls.between(10, 20) == [Stall(10, 6.0)]


def test_the_monitor_sees_memory_and_processor_time_of_a_process() -> None:
    monitor = ProcessMonitor()
    for _ in range(3):
        monitor.sample({"self": os.getpid(), "ended": None})
        sum(number * number for number in range(300_000))
    begin, end = monitor.processes["self"][0].time_ns, monitor.processes["self"][-1].time_ns
    use = monitor.use(begin, end)
    assert list(use) == ["self"]
    assert 5.0 < use["self"].rss_mb < 10_000.0
    assert use["self"].cpu_percent is not None and use["self"].cpu_percent > 0.0
    assert monitor.use(end + 1, end + 2) == {}


def test_processor_time_of_a_restarted_process_is_not_negative() -> None:
    monitor = ProcessMonitor()
    second = 1_000_000_000
    rows = [(0, 1, 5.0), (1, 1, 5.5), (2, 2, 0.1), (3, 2, 0.4)]
    monitor.processes["node"] = [ProcessSample(at * second, pid, cpu, 50.0) for at, pid, cpu in rows]
    assert monitor.use(0, 3 * second)["node"].cpu_percent == pytest.approx(40.0)  # 0.8 s in the two seconds it ran


def test_loaded_libraries_tell_of_torch() -> None:
    assert not has_torch_loaded(os.getpid()) or "torch" in sys.modules
    assert not has_torch_loaded(2**22 + 1)  # no such process


def test_machine_facts_name_processor_and_versions() -> None:
    facts = describe_machine(os.environ)
    assert facts["processor"] and facts["processors"] >= 1
    assert facts["numpy"] == np.__version__


def test_a_contact_sheet_shows_its_pictures() -> None:
    red, green, blue = (np.full((48, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    sheet = draw_sheet([SheetRow("first", (red, green, blue)), SheetRow("second", (red, green, blue))], "title")
    third = sheet.shape[1] // 6
    middles = [sheet[sheet.shape[0] // 3, third * column] for column in (1, 3, 5)]
    assert [int(np.argmax(middle)) for middle in middles] == [0, 1, 2]


def test_import_of_the_command_is_light() -> None:
    """`muon-ad --help` imports no heavy module."""
    code = (
        "import sys, muon_ad_core.commands.demo; sys.exit(any(m in sys.modules for m in ('cv2', 'rosbags', 'rclpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _NoDetections:
    def draw(self, pair: object) -> np.ndarray:
        return pair.color  # type: ignore[attr-defined]


def test_the_video_keeps_real_time_when_pictures_are_missing(tmp_path: Path) -> None:
    from muon_ad_core.bench.moments import FramePair
    from muon_ad_core.bench.video import write_video

    stamps = [0.0, 0.05, 0.1, 0.15, 1.0]  # seconds; nothing between the last two
    picture = np.full((96, 128, 3), 90, np.uint8)
    pairs = [FramePair((round(stamp * 1e9), "camera"), picture, picture) for stamp in stamps]
    path = tmp_path / "video.mp4"
    written = write_video(path, pairs, _NoDetections(), lambda key: "style")  # type: ignore[arg-type]
    assert written == 16  # 15 a second, first and last included
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == written
