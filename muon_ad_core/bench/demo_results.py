# SPDX-License-Identifier: Apache-2.0
"""From a demo's recording to what people look at: report.json, report.html, a contact sheet and a video."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from muon_ad_core.bench.contact_sheet import SheetRow, draw_sheet, save_sheet, sheet_jpeg
from muon_ad_core.bench.demo_run import Observation
from muon_ad_core.bench.joint_report import Run, build_report
from muon_ad_core.bench.moments import DetectionLog, complete_keys, frame_pairs
from muon_ad_core.bench.recording import FrameKey, JointRecording, RecordingReader
from muon_ad_core.bench.report_page import render_page
from muon_ad_core.bench.report_plots import Segment, style_segments
from muon_ad_core.bench.video import write_video
from muon_ad_core.errors import UserError

RECORDING, REPORT, PAGE = "stylized.mcap", "report.json", "report.html"
SHEET, VIDEO = "contact_sheet.png", "stylized.mp4"
MOST_MOMENTS, FEWEST_MOMENTS = 6, 4


def write_results(
    folder: Path, observation: Observation, config: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Write all results beside the recording in `folder`; returns the report.

    Raises:
        UserError: measuring never began.
    """
    with RecordingReader(folder / RECORDING) as reader:
        recording = reader.read()
        report = _report(recording, observation, config, machine)
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        sheet = _write_pictures(folder, reader, recording, report)
    (folder / PAGE).write_text(render_page(report, sheet), encoding="utf-8")
    return report


def _report(
    recording: JointRecording, observation: Observation, config: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, Any]:
    window = recording.window()
    if window is None:
        raise UserError("the recording does not say when measuring began: run the demo again")
    begin, end = window
    monitor = observation.monitor
    run = Run(
        recording,
        begin,
        end,
        observation.stalls,
        monitor.use(begin, end),
        monitor.machine_use(begin, end),
        observation.torch_nodes,
    )
    size = list(recording.picture_size) if recording.picture_size else None
    return {
        **build_report(run),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": {**config, "picture_size": size},
        "machine": dict(machine),
    }


def _write_pictures(
    folder: Path, reader: RecordingReader, recording: JointRecording, report: Mapping[str, Any]
) -> bytes | None:
    """The contact sheet (returned as JPEG, too) and the video; nothing when no pair of pictures was recorded."""
    window = recording.window()
    assert window is not None
    begin, end = window
    measured = {key for key, at in recording.frames.items() if begin <= at < end}
    keys = [key for key in complete_keys(reader) if key in measured]
    if not keys:
        return None
    segments = style_segments(report["changes"], report["seconds"])
    moments = choose_moments(
        {key: (recording.frames[key] - begin) / 1e9 for key in keys}, segments, recording.detections
    )
    latencies = {timing.key: timing.total_ms for timing in recording.style_timings}
    detections = DetectionLog(reader)
    rows = []
    for pair in frame_pairs(reader, frozenset(moments)):
        at = (recording.frames[pair.key] - begin) / 1e9
        latency = f"   ·   {latencies[pair.key]:.1f} ms" if pair.key in latencies else ""
        caption = f"{at:.1f} s   ·   {style_at(segments, at)}{latency}"
        rows.append(SheetRow(caption, (pair.color, pair.stylized, detections.draw(pair))))
    figure = draw_sheet(rows, "Muon-AD: camera, stylised picture and detections of the same frames")
    save_sheet(figure, folder / SHEET)
    pairs = frame_pairs(reader, frozenset(keys))
    write_video(
        folder / VIDEO,
        pairs,
        DetectionLog(reader),
        lambda key: style_at(segments, (recording.frames[key] - begin) / 1e9).replace("→", "->"),
    )
    return sheet_jpeg(figure)


def choose_moments(
    instants: Mapping[FrameKey, float], segments: Sequence[Segment], searched: Container[FrameKey]
) -> list[FrameKey]:
    """For each style's stretch (or spread over the run, when there are few) the frame nearest to its middle.

    A frame of the `searched` ones, in which objects were looked for, is preferred within the same stretch.
    """
    stretches = [(begin, end) for begin, end, _ in segments]
    if len(stretches) < FEWEST_MOMENTS:
        step = max(instants.values()) / FEWEST_MOMENTS
        stretches = [(number * step, (number + 1) * step) for number in range(FEWEST_MOMENTS)]
    while len(stretches) > MOST_MOMENTS:
        del stretches[len(stretches) // 2]

    def unfitness(key: FrameKey, begin: float, end: float) -> tuple[bool, bool, float]:
        outside = not begin <= instants[key] < end
        return outside, key not in searched, abs(instants[key] - (begin + end) / 2)

    nearest = {min(instants, key=lambda key: unfitness(key, begin, end)) for begin, end in stretches}
    return sorted(nearest, key=instants.__getitem__)


def style_at(segments: Sequence[Segment], seconds: float) -> str:
    """What was shown at an instant."""
    return next((name for begin, _, name in reversed(segments) if begin <= seconds), "")
