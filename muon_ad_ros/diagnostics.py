# SPDX-License-Identifier: Apache-2.0
"""A worker's state as a diagnostic, with a level and a remedy, for /diagnostics and the tools that read it."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from muon_ad_msgs.msg import WorkerStatus


def diagnose(status: WorkerStatus, silent: bool) -> DiagnosticStatus:
    """The DiagnosticStatus of a worker; `silent` says that its status has not been heard lately.

    Keys: state, engine, level, policy_asked, policy_granted, priority_granted, affinity_granted, frames_in, frames_out,
    rate_in_hz, rate_out_hz, latency_p50_ms, latency_p90_ms, latency_p99_ms, latency_max_ms, deadline_ms,
    deadline_misses, rss_mb, and drops.<cause> and faults.<cause> for every cause.
    """
    level, message = _judge(status, silent)
    values = {
        "state": status.state,
        "engine": status.engine,
        "level": status.level,
        "policy_asked": status.policy_asked,
        "policy_granted": status.policy_granted,
        "priority_granted": status.priority_granted,
        "affinity_granted": ",".join(map(str, status.affinity_granted)),
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "rate_in_hz": f"{status.rate_in_hz:.2f}",
        "rate_out_hz": f"{status.rate_out_hz:.2f}",
        "latency_p50_ms": f"{status.latency_p50_ms:.2f}",
        "latency_p90_ms": f"{status.latency_p90_ms:.2f}",
        "latency_p99_ms": f"{status.latency_p99_ms:.2f}",
        "latency_max_ms": f"{status.latency_max_ms:.2f}",
        "deadline_ms": f"{status.deadline_ms:.1f}",
        "deadline_misses": status.deadline_misses,
        "rss_mb": f"{status.rss_mb:.0f}",
        **{f"drops.{cause}": count for cause, count in zip(status.drop_causes, status.drop_counts)},
        **{f"faults.{cause}": count for cause, count in zip(status.fault_causes, status.fault_counts)},
    }
    return DiagnosticStatus(
        level=level,
        name=f"{status.name.lstrip('/')}: real time",
        message=message,
        hardware_id=f"pid {status.pid}",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def _judge(status: WorkerStatus, silent: bool) -> tuple[bytes, str]:
    if silent:
        return DiagnosticStatus.STALE, "no status lately: the node has ended or hangs"
    if status.policy_reason:
        return DiagnosticStatus.WARN, status.policy_reason
    if status.state != "active":
        return DiagnosticStatus.WARN, f"the node is {status.state}"
    if status.role != "source" and status.frames_in and not status.rate_in_hz:
        return DiagnosticStatus.WARN, "no frames come in"
    return DiagnosticStatus.OK, f"{status.rate_out_hz:.1f} Hz out"
