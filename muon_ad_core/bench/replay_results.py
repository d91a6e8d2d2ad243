# SPDX-License-Identifier: Apache-2.0
"""From the runs of a replay to its measurement: figures over runs, confidence intervals, histograms, and the table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from muon_ad_core.bench.benchmark import LOWER, Histogram, Measurement, Series
from muon_ad_core.bench.intervals import mean_interval
from muon_ad_core.bench.joint_report import percentile
from muon_ad_core.bench.replay_figures import PERCENTS, RunRecord, describe_run
from muon_ad_core.bench.replay_session import Observed
from muon_ad_core.bench.witness import Stall, Stalls

BINS_AN_OCTAVE = 8


def make_measurement(
    config: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    observed: Mapping[str, Sequence[Observed]],
    peak: Mapping[str, Any] | None,
    stalls: Stalls,
    deadline_ms: float,
) -> Measurement:
    """`observed`: the runs at each rate, by its name."""
    rates = {name: describe_runs(runs, stalls, deadline_ms) for name, runs in observed.items()}
    latencies = {name: [run.record.latencies_ms() for run in runs] for name, runs in observed.items()}
    summary: dict[str, Any] = {}
    for name, figures in rates.items():
        prefix = "" if len(rates) == 1 else f"{name}: "
        summary |= {f"{prefix}{key}": value for key, value in figures["summary"].items()}
    if peak is not None:
        summary["peak_rate_hz"] = peak["rate_hz"]
    every = {name: [value for run in runs for value in run] for name, runs in latencies.items()}
    return Measurement(
        config,
        {**facts, "rates": rates, "peak": peak},
        summary,
        describe(rates, peak),
        inputs,
        {f"latency at {name}": Series("ms", runs, LOWER) for name, runs in latencies.items()},
        {f"latency at {name}": histogram(values) for name, values in every.items() if values},
        stalls,
    )


def describe_runs(runs: Sequence[Observed], stalls: Stalls, deadline_ms: float) -> dict[str, Any]:
    """The figures at one rate: of each run, and of all together with 95 % confidence intervals over runs."""
    records = [_with_stalls(run.record, stalls) for run in runs]
    figures = [describe_run(record, deadline_ms) for record in records]
    ordered = sorted(value for record in records for value in record.latencies_ms())
    sent, received = (sum(entry[key] for entry in figures) for key in ("frames_sent", "frames_received"))
    summary: dict[str, Any] = {
        "rate_hz": _mean(entry["rate_hz"] for entry in figures),
        "frames_sent": sent,
        "missed": sent - received,
        "loss": 1.0 - received / sent if sent else None,
        **{f"latency_p{percent:g}_ms": percentile(ordered, percent) for percent in PERCENTS},
        "latency_max_ms": ordered[-1] if ordered else None,
        "jitter_mean_ms": _mean(entry["jitter_ms"]["mean"] for entry in figures),
        "data_age_p99_ms": _mean(entry["data_age_ms"]["p99"] for entry in figures),
        "deadline_misses": sum(entry["deadline_misses"] for entry in figures),
    }
    for name in runs[0].processes:
        for key in ("rss_mb", "cpu_percent"):
            summary[f"{name}_{key}"] = _mean(run.processes.get(name, {}).get(key) for run in runs)
    for key in runs[0].power:
        summary[key] = _mean(run.power.get(key) for run in runs)
    per_run = {
        "rate_hz": [entry["rate_hz"] for entry in figures],
        "latency_p50_ms": [entry["latency_ms"]["p50"] for entry in figures],
        "latency_p99_ms": [entry["latency_ms"]["p99"] for entry in figures],
    }
    return {
        "summary": summary,
        "confidence_95": {key: mean_interval(values) for key, values in per_run.items()},
        "lost": _added(entry["lost"] for entry in figures),
        "late": _added(entry["late"] for entry in figures),
        "runs": [
            {**entry, "counters": run.counters, "processes": run.processes, "machine": run.machine, "power": run.power}
            for entry, run in zip(figures, runs)
        ],
    }


def histogram(values: Sequence[float]) -> Histogram:
    """Counts of positive milliseconds in bins whose width grows with their height: 8 for each doubling."""
    positive = [max(value, 1e-3) for value in values]
    first = math.floor(math.log2(min(positive)) * BINS_AN_OCTAVE)
    last = math.floor(math.log2(max(positive)) * BINS_AN_OCTAVE)
    counts = [0] * (last - first + 1)
    for value in positive:
        counts[math.floor(math.log2(value) * BINS_AN_OCTAVE) - first] += 1
    edges = [2.0 ** (number / BINS_AN_OCTAVE) for number in range(first, last + 2)]
    return Histogram("ms", edges, counts, LOWER)


def describe(rates: Mapping[str, Mapping[str, Any]], peak: Mapping[str, Any] | None) -> str:
    """The figures as a table."""
    columns = " ".join(f"{name:>8}" for name in ("p50", "p90", "p99", "p99.9", "max", "age p99"))
    lines = [f"{'':12} {'frames/s':>9} {'missed':>14} {columns}   (ms)"]
    for name, figures in rates.items():
        summary = figures["summary"]
        values = [summary[f"latency_{key}_ms"] for key in ("p50", "p90", "p99", "p99.9", "max")]
        cells = " ".join(
            f"{'-' if value is None else f'{value:.2f}':>8}" for value in [*values, summary["data_age_p99_ms"]]
        )
        missed = f"{summary['missed']} of {summary['frames_sent']}"
        lines.append(f"{name:12} {summary['rate_hz'] or 0.0:9.2f} {missed:>14} {cells}")
    for name, figures in rates.items():
        lines += [f"{name}: lost in {place}: {count}" for place, count in figures["lost"].items()]
        lines += [f"{name}: late by {cause}: {count}" for cause, count in figures["late"].items()]
    if peak is not None:
        lines.append(
            f"Highest rate with at most 5 % missed: {peak['rate_hz']:.1f} Hz, limited by the {peak['limited_by']}"
        )
    return "\n".join(lines)


def _with_stalls(record: RunRecord, stalls: Stalls) -> RunRecord:
    """The record with the stalls near it; the witness tells them only when it has ended."""
    if not record.sent:
        return record
    begin_ns, end_ns = record.sent[0].key[0] - 1_000_000_000, record.sent[-1].key[0] + 1_000_000_000
    near: list[Stall] = stalls.between(begin_ns, end_ns)
    return dataclasses.replace(record, stalls=near)


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _added(entries: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for entry in entries:
        for name, count in entry.items():
            total[name] = total.get(name, 0) + count
    return total
