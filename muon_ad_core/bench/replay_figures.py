# SPDX-License-Identifier: Apache-2.0
"""The figures of one replay run, from what the player and the monitor noted.

A frame is known by its stamp and frame_id, so that a lost one misaligns nothing. Times are of the monotonic clock,
which all processes of a machine share. Rates are (N - 1) / (last - first).
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from muon_ad_core.bench.joint_report import percentile, rate
from muon_ad_core.bench.recording import FrameKey
from muon_ad_core.bench.witness import Stall

SOURCE, TRANSPORT_IN, TRANSPORT_OUT, MACHINE = "player", "transport to the graph", "transport of the result", "machine"
RECEPTION = "reception"
LATE_SHARE, LATE_EXTRA_MS = 0.5, 10.0
PERCENTS = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True)
class Sent:
    """A frame was due and sent at these monotonic times."""

    key: FrameKey
    due_ns: int
    sent_ns: int


@dataclass(frozen=True)
class Timed:
    """What the worker told of a frame."""

    total_ms: float
    stages: Mapping[str, float]


@dataclass(frozen=True)
class RunRecord:
    """All that was noted of one run, warm-up excluded."""

    worker: str  # name of the node that makes the results
    sent: Sequence[Sent]
    seen: Mapping[FrameKey, int]  # at the graph's input, by the monitor
    received: Mapping[FrameKey, int]  # results, by the monitor
    timings: Mapping[FrameKey, Timed] = field(default_factory=dict)
    stalls: Sequence[Stall] = ()

    def latency_ms(self, sent: Sent) -> float | None:
        """From sending the frame to receiving its result; None when that did not come."""
        received_ns = self.received.get(sent.key)
        return None if received_ns is None else (received_ns - sent.sent_ns) / 1e6

    def latencies_ms(self) -> list[float]:
        """Of all results in the order of their frames."""
        return [latency for sent in self.sent if (latency := self.latency_ms(sent)) is not None]


def describe_run(record: RunRecord, deadline_ms: float) -> dict[str, Any]:
    """The figures of a run as plain JSON; names of keys say the unit.

    stamps_ns: of the first and of the last frame that counts.
    """
    latencies = sorted(record.latencies_ms())
    arrivals = sorted(record.received[sent.key] for sent in record.sent if sent.key in record.received)
    intervals = [(after - before) / 1e6 for before, after in pairwise(arrivals)]
    ages = _ages_ms(record)
    return {
        "frames_sent": len(record.sent),
        "frames_seen_at_input": sum(sent.key in record.seen for sent in record.sent),
        "frames_received": len(latencies),
        "missed": len(record.sent) - len(latencies),
        "stamps_ns": [sent.key[0] for sent in (*record.sent[:1], *record.sent[-1:])],
        "sent_rate_hz": rate([sent.sent_ns for sent in record.sent]),
        "rate_hz": rate(arrivals),
        "latency_ms": _spread(latencies),
        "jitter_ms": _spread(sorted(abs(after - before) for before, after in pairwise(intervals))),
        "data_age_ms": _spread(sorted(ages)),
        "player_late_ms": _spread(sorted((sent.sent_ns - sent.due_ns) / 1e6 for sent in record.sent)),
        "deadline_misses": sum(latency > deadline_ms for latency in latencies),
        "lost": locate_losses(record),
        "late": locate_delays(record),
        "ros2_benchmark": ros2_benchmark_keys(record),
    }


def locate_losses(record: RunRecord) -> dict[str, int]:
    """Frames without a result, by where they were seen last; a stall of the whole machine explains those around it."""
    places: Counter[str] = Counter()
    usual_ns = round(statistics.median(record.latencies_ms() or [0.0]) * 1e6)
    for sent in record.sent:
        if sent.key in record.received:
            continue
        if _stalled(record, sent, sent.sent_ns + usual_ns):
            places[MACHINE] += 1
        elif sent.key in record.timings:
            places[TRANSPORT_OUT] += 1
        elif sent.key in record.seen:
            places[record.worker] += 1
        else:
            places[TRANSPORT_IN] += 1
    return dict(places)


def locate_delays(record: RunRecord) -> dict[str, int]:
    """Late frames (half the median latency, and 10 ms, more than it), by what took the time.

    A stall of the whole machine explains what happens during it; else the stage that took most beyond its own median.
    """
    rows = [(sent, _stages_ms(record, sent)) for sent in record.sent if sent.key in record.received]
    if not rows:
        return {}
    names = {name for _, stages in rows for name in stages}
    usual = {name: statistics.median(stages.get(name, 0.0) for _, stages in rows) for name in names}
    middle = statistics.median(sum(stages.values()) for _, stages in rows)
    limit = middle + max(LATE_SHARE * middle, LATE_EXTRA_MS)
    causes: Counter[str] = Counter()
    for sent, stages in rows:
        if sum(stages.values()) > limit:
            worst = max(stages, key=lambda name: stages[name] - usual[name])
            causes[MACHINE if _stalled(record, sent, record.received[sent.key]) else worst] += 1
    return dict(causes)


def ros2_benchmark_keys(record: RunRecord) -> dict[str, float]:
    """The keys of NVIDIA's ros2_benchmark, by its definitions; its rates are N / duration.

    Only the latencies of the first and last frame differ on purpose: they are of one frame each, found by its key.
    """
    latencies = record.latencies_ms()
    if len(latencies) < 3:
        return {}
    sent_ms = [sent.sent_ns / 1e6 for sent in record.sent]
    received_ms = sorted(record.received[sent.key] / 1e6 for sent in record.sent if sent.key in record.received)
    intervals = [after - before for before, after in pairwise(received_ms)]
    jitters = [abs(after - before) for before, after in pairwise(intervals)]
    duration, playback = received_ms[-1] - received_ms[0], sent_ms[-1] - sent_ms[0]
    return {
        "RECEIVED_DURATION": duration,
        "MEAN_PLAYBACK_FRAME_RATE": len(sent_ms) / playback * 1e3,
        "MEAN_FRAME_RATE": len(received_ms) / duration * 1e3,
        "NUM_FRAMES_SENT": len(sent_ms),
        "NUM_MISSED_FRAMES": len(sent_ms) - len(received_ms),
        "FIRST_SENT_RECEIVED_LATENCY": received_ms[0] - sent_ms[0],
        "LAST_SENT_RECEIVED_LATENCY": received_ms[-1] - sent_ms[-1],
        "FIRST_INPUT_LATENCY": latencies[0],
        "LAST_INPUT_LATENCY": latencies[-1],
        "MAX_LATENCY": max(latencies),
        "MIN_LATENCY": min(latencies),
        "MEAN_LATENCY": statistics.fmean(latencies),
        "MAX_JITTER": max(jitters),
        "MIN_JITTER": min(jitters),
        "MEAN_JITTER": statistics.fmean(jitters),
        "STD_DEV_JITTER": statistics.pstdev(jitters),
    }


def _stages_ms(record: RunRecord, sent: Sent) -> dict[str, float]:
    """Where the time from due to received went; the worker's own stages where it told them."""
    stages = {SOURCE: (sent.sent_ns - sent.due_ns) / 1e6}
    latency = record.latency_ms(sent) or 0.0
    timed = record.timings.get(sent.key)
    if timed is None:
        return {**stages, record.worker: latency}
    until_node = timed.stages["transport"]
    # The monitor's own reception tells the way from the node that was too busy, or stopped, to take the frame.
    on_the_way = (
        min(until_node, (record.seen[sent.key] - sent.sent_ns) / 1e6) if sent.key in record.seen else until_node
    )
    stages[TRANSPORT_IN] = on_the_way
    stages[f"{record.worker}: {RECEPTION}"] = until_node - on_the_way
    for name, milliseconds in timed.stages.items():
        if name != "transport":
            stages[f"{record.worker}: {name}"] = milliseconds
    stages[TRANSPORT_OUT] = latency - timed.total_ms
    return stages


def _stalled(record: RunRecord, sent: Sent, until_ns: int) -> bool:
    """Whether the machine stood still between the frame's due time and `until_ns`.

    Stalls are told on the clock that made the stamps, not on the monotonic one.
    """
    due_ns, end_ns = (sent.key[0] + at - sent.sent_ns for at in (sent.due_ns, until_ns))
    return any(stall.time_ns < end_ns and due_ns < stall.time_ns + stall.milliseconds * 1e6 for stall in record.stalls)


def _ages_ms(record: RunRecord) -> list[float]:
    """How old the newest result has become whenever the next one comes: the worst a consumer of it sees."""
    rows = sorted((record.received[sent.key], sent.sent_ns) for sent in record.sent if sent.key in record.received)
    return [(after[0] - before[1]) / 1e6 for before, after in pairwise(rows)]


def _spread(ordered: Sequence[float]) -> dict[str, float | None]:
    figures = {f"p{percent:g}": percentile(ordered, percent) for percent in PERCENTS}
    return figures | {"max": ordered[-1] if ordered else None, "mean": statistics.fmean(ordered) if ordered else None}
