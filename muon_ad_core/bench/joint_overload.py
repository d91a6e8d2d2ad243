# SPDX-License-Identifier: Apache-2.0
"""Overload: more frames are offered than can be stylised; what style and detection keep of their rates."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from muon_ad_core.bench.task_session import TaskSession

NANOSECONDS = 1_000_000_000
WARM_S = 3.0  # until rates and levels have settled
CAMERA_PRIORITY = 60  # above style's: a camera's frames are offered whatever style does
PREPARED = 60  # pictures: rendering them at this rate would take a processor of its own, which no camera does


def measure_overload(session: TaskSession, rate: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Offer `rate` frames a second to style alone, then to style and detection, `seconds` each, `rounds` times.

    In turns, because a machine whose processors are all busy may be slowed down by its host: medians over all seconds.
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
    return {"offered_hz": rate, "alone": alone, "joint": joint, **_ratios(_seconds(alone), _seconds(joint))}


def _ratios(alone: Sequence[int], joint: Sequence[int]) -> dict[str, float | None]:
    """Of style's frames in each second, joint by the median alone: the median, and the worst."""
    usual = median(alone)
    return {
        "style_hz": median(joint),
        "throughput_ratio": median(joint) / usual if usual else None,
        "worst_second_ratio": min(joint) / usual if usual else None,
    }


def _seconds(watches: Sequence[Mapping[str, Any]]) -> list[int]:
    return [frames for watch in watches for frames in watch["by_second"]]


def _set_camera_rate(session: TaskSession, rate: float) -> None:
    """The camera has to be cleaned up for it."""
    for transition in ("deactivate", "cleanup"):
        session.ask("transition", node="camera", transition=transition)
    session.ask("set", node="camera", values={"rate": rate, "prepared": PREPARED})
    for transition in ("configure", "activate"):
        session.ask("transition", node="camera", transition=transition)


def _watch(session: TaskSession, seconds: float) -> dict[str, Any]:
    session.pause(WARM_S)
    begin_ns, memory, camera = time.time_ns(), _memory(session), session.ask("look")["workers"]["camera"]
    session.pause(seconds)
    end_ns, camera_after = time.time_ns(), session.ask("look")["workers"]["camera"]
    published = camera_after["frames_out"] - camera["frames_out"]
    session.pause(1.0)
    timings = session.ask("timings", begin_ns=begin_ns, end_ns=end_ns)
    scheduler = session.ask("look")["scheduler"]
    style = timings["style_transfer"]
    return {
        "camera_hz": published * NANOSECONDS / max(1, camera_after["stamp_ns"] - camera["stamp_ns"]),
        "style_hz": len(style) / seconds,
        "detection_hz": len(timings["detector"]) / seconds,
        "by_second": _by_second(style, begin_ns, int(seconds)),
        "levels": dict(Counter(row["level"] for row in style)),
        "detection_limit_hz": scheduler["detection_limit_hz"] if scheduler else None,
        "memory_mb": {name: [memory.get(name), after] for name, after in _memory(session).items()},
    }


def _by_second(rows: Sequence[Mapping[str, Any]], begin_ns: int, seconds: int) -> list[int]:
    counts = Counter((row["stamp_ns"] - begin_ns) // NANOSECONDS for row in rows)
    return [counts[second] for second in range(max(1, seconds))]


def _memory(session: TaskSession) -> dict[str, float]:
    """Latest resident memory of each node in 1e6 bytes."""
    return {name: samples[-1].rss_mb for name, samples in session.monitor.processes.items()}
