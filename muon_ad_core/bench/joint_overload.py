# SPDX-License-Identifier: Apache-2.0
"""Overload: more frames are offered than can be stylised; what style and detection keep of their rates."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from muon_ad_core.bench.task_session import TaskSession
from muon_ad_core.errors import UserError

NANOSECONDS = 1_000_000_000
WARM_S = 3.0  # until rates and levels have settled
CAMERA_PRIORITY = 60  # above style's: a camera's frames are offered whatever style does
PREPARED = 60  # pictures: rendering them at this rate would take a processor of its own, which no camera does


def measure_overload(session: TaskSession, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Offer `rate` frames a second to style alone, then to style and detection, `seconds` each, `rounds` times.

    In turns, because a machine whose processors are all busy may be slowed down by its host: medians over all reports.
    Expects both active; the camera keeps that rate, its prepared pictures, and a priority above style's.
    """
    session.ask("set", node="scheduler", values={"source.priority": CAMERA_PRIORITY})
    for worker in ("detector", "style_transfer"):
        session.ask("transition", node=worker, transition="deactivate")
    _set_camera_rate(session, rate)
    session.ask("transition", node="style_transfer", transition="activate")
    alone, joint = [], []
    for _ in range(rounds):
        alone.append(_watch(session, seconds))
        session.ask("transition", node="detector", transition="activate")
        joint.append(_watch(session, seconds))
        session.ask("transition", node="detector", transition="deactivate")
    return {"offered_hz": rate, "alone": alone, "joint": joint, **_ratios(alone, joint)}


def _ratios(alone: Sequence[Mapping[str, Any]], joint: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Of style's rates between reports, joint by the median alone: the median, and the worst."""
    usual, beside = median(_style_rates(alone)), _style_rates(joint)
    return {
        "style_hz": median(beside),
        "throughput_ratio": median(beside) / usual if usual else None,
        "worst_interval_ratio": min(beside) / usual if usual else None,
    }


def _style_rates(watches: Sequence[Mapping[str, Any]]) -> list[float]:
    return [rate for watch in watches for rate in watch["style_rates"]]


def _set_camera_rate(session: TaskSession, rate: float) -> None:
    """The camera has to be cleaned up for it."""
    for transition in ("deactivate", "cleanup"):
        session.ask("transition", node="camera", transition=transition)
    session.ask("set", node="camera", values={"rate": rate, "prepared": PREPARED})
    for transition in ("configure", "activate"):
        session.ask("transition", node="camera", transition=transition)


def _watch(session: TaskSession, seconds: float) -> dict[str, Any]:
    session.pause(WARM_S)
    session.ask("history")
    begin_ns, memory, restarts = time.time_ns(), _memory(session), _restarts(session)
    session.pause(seconds)
    end_ns, rows = time.time_ns(), session.ask("history")["rows"]
    style = rates(rows, "style_transfer")
    if not style:
        raise UserError(f"style transfer gave no two reports within {seconds:g} s: has it ended?")
    scheduler = session.ask("look")["scheduler"]
    return {
        "camera_hz": _mean(rates(rows, "camera")),
        "style_hz": _mean(style),
        "detection_hz": _mean(rates(rows, "detector")),
        "style_rates": style,
        "levels": _levels(session, begin_ns, end_ns),
        "restarts": _restarts(session) - restarts,
        "detection_limit_hz": scheduler["detection_limit_hz"] if scheduler else None,
        "memory_mb": {name: [memory.get(name), after] for name, after in _memory(session).items()},
    }


def rates(rows: Sequence[Mapping[str, Any]], node: str) -> list[float]:
    """Frames a second that a node gave, between each two of its reports, by its own count and stamps.

    Counting what arrives would measure the listener: beside workers of real-time priority that use all the processors,
    it does not run often enough to hear every frame. A process that was started in between has counted from zero.
    """
    reports = [row for row in rows if row["node"] == node]
    return [
        _finished(earlier, later) * NANOSECONDS / (later["stamp_ns"] - earlier["stamp_ns"])
        for earlier, later in pairwise(reports)
        if later["stamp_ns"] > earlier["stamp_ns"]
    ]


def _finished(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> int:
    return int(later["frames_out"] - (earlier["frames_out"] if earlier["pid"] == later["pid"] else 0))


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _levels(session: TaskSession, begin_ns: int, end_ns: int) -> dict[str, int]:
    """How many of the frames that were heard of had which level."""
    timings = session.ask("timings", begin_ns=begin_ns, end_ns=end_ns)
    return dict(Counter(row["level"] for row in timings["style_transfer"]))


def _restarts(session: TaskSession) -> int:
    """Hanging workers that the scheduler has ended so far."""
    scheduler = session.ask("look")["scheduler"]
    return scheduler["restarts"] if scheduler else 0


def _memory(session: TaskSession) -> dict[str, float]:
    """Latest resident memory of each node in 1e6 bytes."""
    return {name: samples[-1].rss_mb for name, samples in session.monitor.processes.items()}
