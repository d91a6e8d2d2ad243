# SPDX-License-Identifier: Apache-2.0
"""The figures of a run of the joint task, from the rows of its recording.

Frames are matched by stamp and frame_id, never by their order of arrival, so that a drop or an overtaking
misaligns nothing. Rates are (N - 1) / (last - first). Percentiles are exact: the smallest measured value that
at least that share of all values does not exceed.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from muon_ad_core.bench.goals import judge
from muon_ad_core.bench.processes import ProcessUse
from muon_ad_core.bench.recording import (
    FOREIGN_CLOCK_NS,
    NANOSECONDS,
    STAGES,
    FrameKey,
    JointRecording,
    Status,
    Timing,
)
from muon_ad_core.bench.tour import MEASURING
from muon_ad_core.bench.witness import Stalls

PERCENTS = (50.0, 90.0, 99.0)
UNACCOUNTED = "unaccounted"


@dataclass(frozen=True)
class Run:
    """All that was observed of one run."""

    recording: JointRecording
    begin_ns: int  # the measured time, on the system clock
    end_ns: int
    stalls: Stalls
    uses: Mapping[str, ProcessUse] = field(default_factory=dict)  # by node
    machine_use: Mapping[str, float] = field(default_factory=dict)
    torch_nodes: Sequence[str] = ()  # processes in which PyTorch was found

    def frames(self) -> list[FrameKey]:
        """The frames of the measured time in the order of their stamps.

        Any message about a frame tells of it: of a picture that did not reach the recorder, the calibration, a timing
        or a result did.
        """
        return sorted(key for key, at in self.recording.frames.items() if self.begin_ns <= at < self.end_ns)

    def instant(self, key: FrameKey) -> float:
        """When a frame was taken, in seconds since the beginning of the measured time."""
        return self.seconds(self.recording.frames[key])

    def seconds(self, at_ns: int) -> float:
        """An instant in seconds since the beginning of the measured time."""
        return round((at_ns - self.begin_ns) / NANOSECONDS, 4)


def build_report(run: Run) -> dict[str, Any]:
    """The figures as plain JSON values; the names of keys say the unit. docs/report.md explains each."""
    recording = run.recording
    frames = run.frames()
    timings = {timing.key: timing for timing in recording.style_timings}
    came_out = timings.keys() | recording.stylized.keys() | recording.stylized_info.keys()
    stylized = [key for key in frames if key in came_out]
    timed = [timings[key] for key in frames if key in timings]
    detected = [recording.detections[key] for key in frames if key in recording.detections]
    drops = count_drops(recording.statuses, run.begin_ns, run.end_ns)
    report = {
        "seconds": (run.end_ns - run.begin_ns) / NANOSECONDS,
        "frames_in": len(frames),
        "frames_stylized": len(stylized),
        "loss": 1.0 - len(stylized) / len(frames) if frames else None,
        "latency_ms": summarize(timing.total_ms for timing in timed),
        "latency_received_ms": summarize(_ages(frames, recording.stylized)),
        "stages_ms": _stages(timed),
        "frames_by_level": dict(Counter(timing.level for timing in timed)),
        "deadline_misses": sum(timing.deadline_missed for timing in timed),
        "detection_rate_hz": rate(detected),
        "detection_latency_ms": summarize(_totals(frames, recording.detection_timings)),
        "drops": _style_drops(recording.statuses, drops, len(frames) - len(stylized)),
        "drops_by_node": drops,
        "timings_not_recorded": _sequence_gaps(timed, recording.style_timings),
        "source_rate_hz": _source_rate(recording.statuses, run.begin_ns, run.end_ns),
        **_nodes(run),
        "stalls": _stalls(run),
        "machine_use": dict(run.machine_use),
        "other_load_percent": other_load(run),
        "changes": _changes(run),
        "per_second": _per_second(run, frames, timings, came_out),
        "frames": {
            "at_s": [run.instant(timing.key) for timing in timed],
            "latency_ms": [round(timing.total_ms, 3) for timing in timed],
            "level": [timing.level for timing in timed],
            "lost_at_s": [run.instant(key) for key in frames if key not in came_out],
        },
    }
    return {**report, "goals": judge(report)}


def summarize(values: Iterable[float]) -> dict[str, float | None]:
    """Count, percentiles, maximum and mean of the values; None for each but the count when there are none."""
    ordered = sorted(value for value in values if math.isfinite(value))
    summary: dict[str, float | None] = {"count": len(ordered)}
    for percent in PERCENTS:
        summary[f"p{percent:g}"] = percentile(ordered, percent)
    summary["max"] = ordered[-1] if ordered else None
    summary["mean"] = math.fsum(ordered) / len(ordered) if ordered else None
    return summary


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The smallest of the ascending values that at least `percent` (0..100) of them do not exceed."""
    return ordered[max(1, math.ceil(len(ordered) * percent / 100.0)) - 1] if ordered else None


def rate(instants_ns: Sequence[int]) -> float:
    """Events a second: (N - 1) / (last - first), 0 for fewer than two events."""
    span = max(instants_ns) - min(instants_ns) if instants_ns else 0
    return (len(instants_ns) - 1) * NANOSECONDS / span if span else 0.0


def count_drops(statuses: Iterable[Status], begin_ns: int, end_ns: int) -> dict[str, dict[str, int]]:
    """Drops by node and cause: what the nodes' counters grew by over the measured time.

    Nodes report twice a second: from the last report before the beginning to the first one after the end, so
    that nothing is missed (what was dropped just outside may be counted). A counter that went back belongs to
    a restarted node and is counted from zero.
    """
    counts: dict[str, dict[str, int]] = {}
    for node, rows in _by_node(statuses).items():
        before = [row for row in rows if row.at_ns <= begin_ns] or [Status(0, node, "")]
        after = [row for row in rows if row.at_ns >= end_ns]
        span = [before[-1], *(row for row in rows if begin_ns < row.at_ns < end_ns), *after[:1]]
        counts[node] = {}
        for earlier, later in pairwise(span):
            for cause, count in later.drops.items():
                growth = count - earlier.drops.get(cause, 0)
                grown = growth if growth >= 0 else count
                if grown:
                    counts[node][cause] = counts[node].get(cause, 0) + grown
    return counts


def other_load(run: Run) -> float | None:
    """Percent of all processors that were busy with anything but the measured nodes; None when not observed."""
    busy = run.machine_use.get("busy_percent")
    if busy is None:
        return None
    ours = sum(use.cpu_percent or 0.0 for use in run.uses.values())
    return max(0.0, busy - ours / (os.cpu_count() or 1))


def _by_node(statuses: Iterable[Status]) -> dict[str, list[Status]]:
    rows: dict[str, list[Status]] = {}
    for status in sorted(statuses, key=lambda status: status.at_ns):
        rows.setdefault(status.node.rsplit("/", 1)[-1], []).append(status)
    return rows


def _style_drops(statuses: Iterable[Status], drops: Mapping[str, Mapping[str, int]], missing: int) -> dict[str, int]:
    """Drops on the way to the stylised picture, by cause; what no counter explains is `unaccounted`."""
    causes: dict[str, int] = {}
    for node in {status.node.rsplit("/", 1)[-1] for status in statuses if status.role == "style"}:
        for cause, count in drops[node].items():
            causes[cause] = causes.get(cause, 0) + count
    unexplained = missing - sum(causes.values())
    return {**causes, UNACCOUNTED: unexplained} if unexplained > 0 else causes


def _nodes(run: Run) -> dict[str, Any]:
    """What each node is, was granted and used."""
    latest = {node: rows[-1] for node, rows in _by_node(run.recording.statuses).items()}
    self_reported = {node: max(row.rss_mb for row in rows) for node, rows in _by_node(run.recording.statuses).items()}
    torch_nodes = {*run.torch_nodes, *(node for node, status in latest.items() if status.imports_torch)}
    style = next((status for status in latest.values() if status.role == "style"), None)
    return {
        "policies": {
            node: {"asked": status.asked, "granted": status.granted, "reason": status.reason}
            for node, status in latest.items()
        },
        "engines": {
            node: {"engine": status.engine, "level": status.level, "backend": status.backend}
            for node, status in latest.items()
            if status.engine
        },
        "deadline_ms": style.deadline_ms if style else None,
        "rss_mb": {**self_reported, **{node: use.rss_mb for node, use in run.uses.items()}},
        "cpu_percent": {node: use.cpu_percent for node, use in run.uses.items()},
        "imports_torch": bool(torch_nodes),
        "torch_nodes": sorted(torch_nodes),
    }


def _stalls(run: Run) -> dict[str, Any]:
    stalls = run.stalls.between(run.begin_ns, run.end_ns)
    return {
        "count": len(stalls),
        "total_ms": math.fsum(stall.milliseconds for stall in stalls),
        "worst_ms": max((stall.milliseconds for stall in stalls), default=0.0),
        "threshold_ms": run.stalls.threshold_ms,
        "witness_policy": run.stalls.policy,
        "events": [{"at_s": run.seconds(stall.time_ns), "ms": stall.milliseconds} for stall in stalls],
    }


def _changes(run: Run) -> list[dict[str, Any]]:
    """Parameters that were set while measuring."""
    return [
        {
            "at_s": run.seconds(change.at_ns),
            "node": change.node.rsplit("/", 1)[-1],
            "parameter": change.parameter,
            "value": change.value,
        }
        for change in run.recording.changes
        if run.begin_ns <= change.at_ns < run.end_ns and change.parameter != MEASURING
    ]


def _per_second(
    run: Run, frames: Sequence[FrameKey], timings: Mapping[FrameKey, Timing], came_out: Container[FrameKey]
) -> dict[str, list[Any]]:
    """One entry for each whole or begun second: the frames taken in it, what became of them, and their latencies."""
    recording = run.recording
    seconds = max(1, math.ceil((run.end_ns - run.begin_ns) / NANOSECONDS))
    taken: list[list[FrameKey]] = [[] for _ in range(seconds)]
    for key in frames:
        taken[(recording.frames[key] - run.begin_ns) // NANOSECONDS].append(key)
    latencies = [summarize(timings[key].total_ms for key in keys if key in timings) for keys in taken]
    return {
        "frames_in": [len(keys) for keys in taken],
        "frames_stylized": [sum(key in came_out for key in keys) for keys in taken],
        "detections": [sum(key in recording.detections for key in keys) for keys in taken],
        **{f"latency_{name}_ms": [entry[name] for entry in latencies] for name in ("p50", "p99", "max")},
    }


def _stages(timings: Sequence[Timing]) -> dict[str, float | None]:
    """Median time of each stage."""
    return {stage: summarize(timing.stages.get(stage, math.nan) for timing in timings)["p50"] for stage in STAGES}


def _totals(frames: Iterable[FrameKey], timings: Iterable[Timing]) -> Iterator[float]:
    totals = {timing.key: timing.total_ms for timing in timings}
    return (totals[key] for key in frames if key in totals)


def _ages(frames: Iterable[FrameKey], arrivals: Mapping[FrameKey, int]) -> Iterator[float]:
    """Milliseconds from each frame's stamp to the arrival of its result, where one clock made both."""
    ages_ns = (arrivals[key] - key[0] for key in frames if key in arrivals)
    return (age / 1e6 for age in ages_ns if 0 <= age < FOREIGN_CLOCK_NS)


def _sequence_gaps(measured: Sequence[Timing], recorded: Iterable[Timing]) -> int:
    """How many timings the worker published between the first and the last measured one that were not recorded."""
    if not measured:
        return 0
    first, last = (extreme(timing.sequence for timing in measured) for extreme in (min, max))
    seen = {timing.sequence for timing in recorded if first <= timing.sequence <= last}
    return max(0, last - first + 1 - len(seen))  # a restarted worker counts anew


def _source_rate(statuses: Iterable[Status], begin_ns: int, end_ns: int) -> float | None:
    """Frames a second by the camera's own count, between its first and last report of the measured time."""
    rows = [row for row in statuses if row.role == "source" and begin_ns <= row.at_ns < end_ns]
    if len(rows) < 2:
        return None
    return (rows[-1].frames_out - rows[0].frames_out) * NANOSECONDS / (rows[-1].at_ns - rows[0].at_ns)
