# SPDX-License-Identifier: Apache-2.0
"""What a node reports about itself: one FrameTiming a frame, two WorkerStatus a second."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from dataclasses import dataclass, field

from builtin_interfaces.msg import Time
from muon_ad_msgs.msg import FrameTiming, WorkerStatus

from muon_ad_core.realtime.latency import LatencyWindow
from muon_ad_core.realtime.ledger import FrameLedger, LedgerEntry
from muon_ad_core.realtime.policy import PolicyGrant, PolicyRequest

STATUS_PERIOD = 0.5  # seconds
RATES_OVER = 4  # periods, so that rates are steady
LATENCY_SPAN = 30.0  # seconds; percentiles cover the last one to two spans
NANOSECONDS = 1_000_000_000


def to_nanoseconds(stamp: Time) -> int:
    """A ROS stamp in nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def to_stamp(nanoseconds: int) -> Time:
    """Nanoseconds as a ROS stamp."""
    return Time(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


@dataclass
class StageClock:
    """Time one frame spends in the stages of its processing, in milliseconds."""

    stages: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now


class StatusReporter:
    """Fills WorkerStatus from a node's ledger and latencies."""

    def __init__(self, name: str, role: str, ledger: FrameLedger) -> None:
        self._ledger = ledger
        unknown = {"scene_entropy": math.nan, "scene_distance_m": math.nan}
        self._message = WorkerStatus(name=name, role=role, pid=os.getpid(), **unknown)
        self._latencies = LatencyWindow(LATENCY_SPAN)
        self._deadline_misses = 0
        self._earlier = deque([(time.monotonic(), ledger.read())], maxlen=RATES_OVER)

    def record(self, total_ms: float, missed: bool) -> None:
        """Take in one published frame's total time."""
        self._latencies.record(total_ms, time.monotonic())
        self._deadline_misses += missed

    def message(self, stamp: Time, state: str, request: PolicyRequest, grant: PolicyGrant) -> WorkerStatus:
        """The status at `stamp`; the caller adds engine, level and deadline. Valid until the next call."""
        status = self._message
        status.header.stamp = stamp
        status.state = state
        status.policy_asked, status.policy_granted = request.policy, grant.policy
        status.priority_granted, status.nice_granted = grant.priority, grant.nice
        status.affinity_granted = list(grant.affinity)
        status.policy_reason = grant.reason
        status.deadline_misses = self._deadline_misses
        self._add_counts(status, self._ledger.read())
        self._add_latencies(status)
        status.rss_mb = resident_memory_mb()
        status.imports_torch = "torch" in sys.modules
        return status

    def _add_counts(self, status: WorkerStatus, entry: LedgerEntry) -> None:
        now = time.monotonic()
        then, earlier = self._earlier[0]
        elapsed = max(now - then, 1e-3)
        status.rate_in_hz = (entry.frames_in - earlier.frames_in) / elapsed
        status.rate_out_hz = (entry.frames_out - earlier.frames_out) / elapsed
        status.frames_in, status.frames_out = entry.frames_in, entry.frames_out
        status.drop_causes, status.drop_counts = list(entry.drops), list(entry.drops.values())
        status.fault_causes, status.fault_counts = list(entry.faults), list(entry.faults.values())
        self._earlier.append((now, entry))

    def _add_latencies(self, status: WorkerStatus) -> None:
        recent = self._latencies.read(time.monotonic())
        p50, p90, p99, p999 = recent.percentiles(50, 90, 99, 99.9)
        status.latency_p50_ms, status.latency_p90_ms = p50, p90
        status.latency_p99_ms, status.latency_p999_ms = p99, p999
        status.latency_max_ms = recent.maximum


def fill_stages(timing: FrameTiming, clock: StageClock) -> None:
    """Put the stage times into a FrameTiming."""
    timing.convert_ms = clock.stages.get("convert", 0.0)
    timing.infer_ms = clock.stages.get("infer", 0.0)
    timing.publish_ms = clock.stages.get("publish", 0.0)


def resident_memory_mb() -> float:
    """Resident memory of this process in 1e6 bytes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
