# SPDX-License-Identifier: Apache-2.0
"""From a demo's recording to what people look at: report.json, report.html, a contact sheet and a video."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
from muon_ad_core.bench.contact_sheet import SheetRow, draw_sheet
from muon_ad_core.bench.demo_run import Observation
from muon_ad_core.bench.joint_report import Run, build_report
from muon_ad_core.bench.moments import DetectionLog, complete_keys, frame_pairs
from muon_ad_core.bench.recording import FrameKey, JointRecording, RecordingReader
from muon_ad_core.bench.report_page import render_page
from muon_ad_core.bench.report_plots import Segment, style_segments
from muon_ad_core.bench.result_file import make_document, write_document
from muon_ad_core.bench.video import write_video
from muon_ad_core.bench.witness import Stalls
from muon_ad_core.errors import UserError

RECORDING, REPORT, PAGE = "stylized.mcap", "report.json", "report.html"
SHEET, VIDEO = "contact_sheet.png", "stylized.mp4"
SHEET_TITLE = "Muon-AD: camera, stylised picture and detections of the same frames"
MOST_MOMENTS, FEWEST_MOMENTS = 6, 4


def write_results(
    folder: Path, observation: Observation, config: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Write all results beside the recording in `folder`; returns the report.

    Raises:
        UserError: measuring never began.
    """
    with RecordingReader(folder / RECORDING) as reader:
        run = _measured_run(reader.read(), observation)
        report = {
            **build_report(run),
            "restarts": observation.restarts,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "config": {**config, "picture_size": run.recording.picture_size},
            "machine": dict(machine),
        }
        write_document(folder / REPORT, make_document("demo", machine, as_measurement(report, run)))
        segments = style_segments(report["changes"], report["seconds"])
        sheet = _sheet(reader, run, segments)
        if sheet is not None:
            cv2.imwrite(str(folder / SHEET), sheet)
            _write_video(folder / VIDEO, reader, run, segments)
    jpeg = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes() if sheet is not None else None
    (folder / PAGE).write_text(render_page(report, jpeg), encoding="utf-8")
    return report


def as_measurement(report: Mapping[str, Any], run: Run) -> Measurement:
    """The report in the form all benchmarks share; its figures are the measurement's results."""
    latency, detection = report["latency_ms"], report["detection_latency_ms"]
    summary = {
        "loss": report["loss"],
        **{f"latency_{name}_ms": latency[name] for name in ("p50", "p90", "p99", "max")},
        "rate_hz": report["frames_stylized"] / report["seconds"] if report["seconds"] else None,
        "detection_rate_hz": report["detection_rate_hz"],
        "detection_latency_p50_ms": detection["p50"],
        "deadline_misses": report["deadline_misses"],
        "goals_met": sum(goal["met"] for goal in report["goals"]),
        **{f"{node}_rss_mb": value for node, value in report["rss_mb"].items()},
        **{f"{node}_cpu_percent": value for node, value in report["cpu_percent"].items()},
    }
    results = {key: value for key, value in report.items() if key not in ("config", "machine", "created")}
    samples = {"latency_ms": Series("ms", [report["frames"]["latency_ms"]], LOWER)}
    measured = Stalls(run.stalls.policy, run.stalls.threshold_ms, run.stalls.between(run.begin_ns, run.end_ns))
    return Measurement(report["config"], results, summary, "", samples=samples, stalls=measured)


def _measured_run(recording: JointRecording, observation: Observation) -> Run:
    window = recording.window()
    if window is None:
        raise UserError("the recording does not say when measuring began: run the demo again")
    return Run(
        recording,
        *window,
        stalls=observation.stalls,
        uses=observation.monitor.use(*window),
        machine_use=observation.monitor.machine_use(*window),
        torch_nodes=observation.torch_nodes,
    )


def _sheet(reader: RecordingReader, run: Run, segments: Sequence[Segment]) -> NDArray[np.uint8] | None:
    """The contact sheet (BGR); None when there is no frame of which both pictures were recorded."""
    measured = set(run.frames())
    instants = {key: run.instant(key) for key in complete_keys(reader) if key in measured}
    if not instants:
        return None
    moments = choose_moments(instants, segments, run.recording.detections)
    latencies = {timing.key: f"   ·   {timing.total_ms:.1f} ms" for timing in run.recording.style_timings}
    detections = DetectionLog(reader)
    rows = []
    for pair in frame_pairs(reader, frozenset(moments)):
        at = instants[pair.key]
        caption = f"{at:.1f} s   ·   {style_at(segments, at)}{latencies.get(pair.key, '')}"
        rows.append(SheetRow(caption, (pair.color, pair.stylized, detections.draw(pair))))
    return np.ascontiguousarray(draw_sheet(rows, SHEET_TITLE)[..., ::-1])


def _write_video(path: Path, reader: RecordingReader, run: Run, segments: Sequence[Segment]) -> None:
    def caption(key: FrameKey) -> str:
        return style_at(segments, run.instant(key)).replace("→", "->")  # OpenCV's font has ASCII only

    write_video(path, frame_pairs(reader, frozenset(run.frames())), DetectionLog(reader), caption)


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
