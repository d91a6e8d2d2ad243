# SPDX-License-Identifier: Apache-2.0
"""``muon-ad demo``: run the joint task for a while, changing styles live; leave a recording, pictures and a report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muon_ad_core.errors import ParameterError
from muon_ad_core.machine import CHECKOUT

NO_STYLIZED_FRAMES = 1  # exit code
LOG = "log.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad demo``."""
    parser.add_argument(
        "--source",
        default="motorcycle",
        help="scene (motorcycle, pan), video file, image folder, /dev/videoN or bag (default: motorcycle)",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure (default: 20)")
    parser.add_argument(
        "--output", type=Path, default=Path("out/demo"), metavar="FOLDER", help="for the results (default: out/demo)"
    )
    parser.add_argument("--style", default="", metavar="NAME", help="keep to one style instead of showing several")


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns 0 when stylised frames came (goals met or not), else 1."""
    from muon_ad_core.bench.demo_results import RECORDING, write_results
    from muon_ad_core.bench.demo_run import DemoLog, record_run
    from muon_ad_core.bench.machine_facts import describe_machine
    from muon_ad_ros.environment import child_environment

    if not 3.0 <= args.seconds <= 3600.0:
        raise ParameterError(f"--seconds must be between 3 and 3600, not {args.seconds:g}")
    folder: Path = args.output
    _clear(folder)
    print(
        f"Running the joint task on '{args.source}' for {args.seconds:g} s, after some seconds of warm-up.", flush=True
    )
    with DemoLog(folder / LOG, _say) as log:
        observation = record_run(args.source, args.style, args.seconds, folder / RECORDING, log)
        for line in log.error_lines:  # when the run fails, the exception tells
            _say(f"error: {line}")
    print("Writing the report, the contact sheet and the video.", flush=True)
    config = {"source": args.source, "style": args.style or "a tour of several"}
    report = write_results(folder, observation, config, describe_machine(child_environment()))
    print(describe_goals(report))
    if not report["frames_stylized"]:
        print(f"No stylised frame came: see {folder / LOG} and 'muon-ad doctor'.")
        return NO_STYLIZED_FRAMES
    print(describe_next_steps(folder))
    return 0


def describe_goals(report: Mapping[str, Any]) -> str:
    """The figures against the goals as a table."""
    lines = [""]
    for goal in report["goals"]:
        measured = "-" if goal["measured"] is None else f"{goal['measured']:.1f}"
        bound = f"goal {goal['relation']} {goal['bound']:g} {goal['unit']}"
        lines.append(
            f"  {goal['name']:32} {measured:>7} {goal['unit']:3} {bound:18} {'met' if goal['met'] else 'MISSED'}"
        )
    others, stalls = report["other_load_percent"], report["stalls"]
    if others is not None and others >= 10.0:
        lines.append(f"  Other programs used {others:.0f} % of the processors; the goals are for an idle machine.")
    if stalls["count"]:
        lines.append(f"  The machine stalled {stalls['count']} times, for up to {stalls['worst_ms']:.0f} ms.")
    lines += [f"  {node} crashed and was started again {count} times." for node, count in report["restarts"].items()]
    refused = [f"{node}: {entry['reason']}" for node, entry in report["policies"].items() if entry["reason"]]
    lines += [f"  {sentence}" for sentence in refused]
    return "\n".join([*lines, ""])


def describe_next_steps(folder: Path) -> str:
    """Where the results are and what to type next."""
    terminal = ["          . ./env.sh                       once in a terminal, then"]
    return "\n".join(
        [
            f"Look at   {folder / 'report.html'}        figures and plots, in a browser",
            f"          {folder / 'contact_sheet.png'}  camera, stylised, detected",
            f"          {folder / 'stylized.mp4'}       in VLC or mpv",
            f"          {folder / 'stylized.mcap'}      in Foxglove, or with ros2 bag play",
            "What to type next:",
            *(terminal if (CHECKOUT / "env.sh").is_file() else []),
            "          muon-ad up joint_task            the same without an end; Ctrl-C stops it",
            "          muon-ad demo --source clip.mp4   your own video, folder of pictures or /dev/video0",
            "          ros2 param set /style_transfer strength 0.5    while it runs, where ros2 is installed",
        ]
    )


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


def _clear(folder: Path) -> None:
    """Make the folder, without the results of an earlier run."""
    from muon_ad_core.bench.demo_results import PAGE, RECORDING, REPORT, SHEET, VIDEO

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (PAGE, RECORDING, REPORT, SHEET, VIDEO, LOG):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise ParameterError(f"--output {folder} cannot be used: {error.strerror}") from None
