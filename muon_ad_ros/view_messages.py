# SPDX-License-Identifier: Apache-2.0
"""ROS messages as the plain JSON the live view's page is sent."""

from __future__ import annotations

import math
from typing import Any

from builtin_interfaces.msg import Time
from muon_ad_msgs.msg import ClockStatus, FrameTiming, SchedulerStatus, WorkerStatus
from rcl_interfaces.msg import ParameterDescriptor
from vision_msgs.msg import Detection2DArray

from .status import to_nanoseconds

CLOCK_STATES = {
    ClockStatus.UNAVAILABLE: "unavailable",
    ClockStatus.UNLOCKED: "unlocked",
    ClockStatus.LOCKING: "locking",
    ClockStatus.LOCKED: "locked",
    ClockStatus.HOLDOVER: "holdover",
    ClockStatus.FAULT: "fault",
}


def microseconds(stamp: Time) -> int:
    """A stamp as JavaScript can hold it exactly."""
    return to_nanoseconds(stamp) // 1000


def worker(status: WorkerStatus, age: float) -> dict[str, Any]:
    """A worker's state; `age` is the seconds since it was heard. Figures that are not known are null."""
    return {
        "name": status.name,
        "role": status.role,
        "state": status.state,
        "engine": status.engine,
        "backend": status.backend,
        "level": status.level,
        "levels": list(status.levels),
        "policy": status.policy_granted + (f" {status.priority_granted}" if status.priority_granted else ""),
        "policy_reason": status.policy_reason,
        "deadline_ms": status.deadline_ms,
        "frames_out": status.frames_out,
        "drops": dict(zip(status.drop_causes, status.drop_counts)),
        "faults": dict(zip(status.fault_causes, status.fault_counts)),
        "rate_in": _figure(status.rate_in_hz),
        "rate_out": _figure(status.rate_out_hz),
        "p50": _figure(status.latency_p50_ms),
        "p99": _figure(status.latency_p99_ms),
        "rss_mb": _figure(status.rss_mb),
        "age": round(age, 1),
    }


def scheduler(status: SchedulerStatus, age: float) -> dict[str, Any]:
    """What the scheduler did last, newest last."""
    return {"decisions": list(status.decisions), "age": round(age, 1)}


def clock(status: ClockStatus, age: float) -> dict[str, Any]:
    """The state of the machine's clock."""
    return {
        "state": CLOCK_STATES.get(status.state, f"state {status.state}"),
        "reason": status.reason,
        "port_state": status.port_state,
        "grandmaster": status.grandmaster,
        "master_offset_ns": status.master_offset_ns if status.port_state else None,
        "system_offset_ns": status.system_offset_ns if status.system_offset_known else None,
        "age": round(age, 1),
    }


def detections(message: Detection2DArray) -> dict[str, Any]:
    """Boxes in pixels of the picture with that stamp: [x, y, width, height, class, score]."""
    boxes = []
    for found in message.detections:
        centre, width, height = found.bbox.center.position, found.bbox.size_x, found.bbox.size_y
        best = max((result.hypothesis for result in found.results), key=lambda h: h.score, default=None)
        corner = [round(centre.x - width / 2, 1), round(centre.y - height / 2, 1), round(width, 1), round(height, 1)]
        boxes.append([*corner, best.class_id if best else "", round(best.score, 2) if best else 0.0])
    return {"stamp": microseconds(message.header.stamp), "boxes": boxes}


def timing(message: FrameTiming) -> list[Any]:
    """One frame of the latency plot: microseconds of its stamp, milliseconds in all, and of these in the engine."""
    return [microseconds(message.header.stamp), _figure(message.total_ms), _figure(message.infer_ms)]


def parameter(value: Any, descriptor: ParameterDescriptor) -> dict[str, Any]:
    """A parameter's value, meaning and range (null when it has none)."""
    spans = [*descriptor.floating_point_range, *descriptor.integer_range]
    span = [spans[0].from_value, spans[0].to_value] if spans else None
    return {"value": value, "description": descriptor.description, "range": span}


def _figure(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
