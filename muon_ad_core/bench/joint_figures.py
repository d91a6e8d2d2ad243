# SPDX-License-Identifier: Apache-2.0
"""From the windows of ``bench joint`` to its figures: what detection beside it and other load do to style."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muon_ad_core.bench.joint_report import percentile, rate
from muon_ad_core.bench.witness import Stall, Stalls

PERCENTS = (50.0, 90.0, 99.0, 99.9)
STYLE, DETECTION, JOINT = "style", "detection", "joint"
TASKS = (STYLE, DETECTION, JOINT)
QUIET, BUSY = "none", "cpu"
PAPER = {"style_s": 12.3, "detection_s": 0.08, "joint_s": 12.4, "added_s": 0.1, "cpu_percent": 78.0}
"""The paper's Table XII: seconds for an image by its optimiser, for one detection, for both; use of the processors."""


@dataclass(frozen=True)
class Condition:
    """What is run: a task of `TASKS`, under the scheduler's policies or not, beside a load of `load.LOADS`."""

    task: str
    policies: bool
    load: str

    def __str__(self) -> str:
        return f"{self.task}, policies {'on' if self.policies else 'off'}, load {self.load}"


@dataclass(frozen=True)
class Window:
    """One measured stretch of a condition; instants are nanoseconds of the system clock."""

    condition: Condition
    begin_ns: int
    end_ns: int
    timings: Mapping[str, Sequence[Mapping[str, Any]]]  # by task "style" and "detection": rows of the probe
    granted: Mapping[str, str] = field(default_factory=dict)  # policy of each node
    busy_percent: float | None = None


def build_results(windows: Sequence[Window], stalls: Stalls, deadline_ms: float) -> dict[str, Any]:
    """All conditions with their figures, all rounds together, in the order in which they first came."""
    grouped: dict[Condition, list[Window]] = {}
    for window in windows:
        grouped.setdefault(window.condition, []).append(window)
    conditions = [_condition(condition, members, stalls, deadline_ms) for condition, members in grouped.items()]
    return {"conditions": conditions, "added_ms": _added(conditions), "deadline_ms": deadline_ms, "paper": PAPER}


def summarise(results: Mapping[str, Any], stalls: Stalls) -> dict[str, float | int | str | None]:
    """The figures goals are about; ratios are p99 of style in the joint task ÷ p99 alone and unloaded, policies on."""
    alone = find(results, STYLE, True, QUIET)
    guarded, unguarded = find(results, JOINT, True, BUSY), find(results, JOINT, False, BUSY)
    added = [entry["median"] for entry in results["added_ms"] if entry["policies"] and entry["load"] == QUIET]
    joint = [entry for entry in results["conditions"] if entry["task"] == JOINT and entry["policies"]]
    return {
        "p99_ratio": _ratio(guarded, alone),
        "added_ms_median": added[0] if added else None,
        "missed_deadlines": sum(entry["style"]["misses_outside_stalls"] for entry in joint),
        "missed_deadlines_in_stalls": sum(
            entry["style"]["misses"] - entry["style"]["misses_outside_stalls"] for entry in joint
        ),
        "ratio_without_policies": _ratio(unguarded, alone),
        "witness_stalls": len(stalls.events),
        "style_p99_ms_alone": alone["style"]["p99"] if alone else None,
        "style_p99_ms_joint_loaded": guarded["style"]["p99"] if guarded else None,
        "frames_lost": sum(entry["style"]["lost"] for entry in joint),
        "witness_policy": stalls.policy,
    }


def find(results: Mapping[str, Any], task: str, policies: bool, load: str) -> dict[str, Any] | None:
    """The condition's entry, None when it was not run."""
    for entry in results["conditions"]:
        if (entry["task"], entry["policies"], entry["load"]) == (task, policies, load):
            return dict(entry)
    return None


def worker_figures(
    rounds: Sequence[Sequence[Mapping[str, Any]]], stalls: Sequence[Stall], deadline_ms: float
) -> dict[str, Any]:
    """Percentiles, misses and losses of one worker over all rounds of a condition."""
    rows = [row for timings in rounds for row in timings]
    totals = sorted(row["total_ms"] for row in rows)
    late = [row for row in rows if row["total_ms"] > deadline_ms]
    return {
        "frames": len(rows),
        "rate_hz": [round(rate([row["stamp_ns"] for row in timings]), 2) for timings in rounds],
        **{f"p{percent:g}": percentile(totals, percent) for percent in PERCENTS},
        "max": totals[-1] if totals else None,
        "p99_by_round": [percentile(sorted(row["total_ms"] for row in timings), 99.0) for timings in rounds],
        "misses": len(late),
        "misses_outside_stalls": sum(not touched(row, stalls) for row in late),
        "lost": sum(row["lost_before"] for timings in rounds for row in timings[1:]),  # the first tells of before
        "levels": dict(Counter(row["level"] for row in rows)),
    }


def touched(row: Mapping[str, Any], stalls: Iterable[Stall]) -> bool:
    """Whether a frame was on its way while the machine stalled."""
    begin, end = row["stamp_ns"], row["stamp_ns"] + row["total_ms"] * 1e6
    return any(stall.time_ns < end and stall.time_ns + stall.milliseconds * 1e6 > begin for stall in stalls)


def _condition(condition: Condition, windows: Sequence[Window], stalls: Stalls, deadline_ms: float) -> dict[str, Any]:
    seen = [stall for window in windows for stall in stalls.between(window.begin_ns, window.end_ns)]
    busy = [window.busy_percent for window in windows if window.busy_percent is not None]
    return {
        "task": condition.task,
        "policies": condition.policies,
        "load": condition.load,
        "style": worker_figures([window.timings[STYLE] for window in windows], seen, deadline_ms),
        "detection": worker_figures([window.timings[DETECTION] for window in windows], seen, deadline_ms),
        "granted": dict(windows[-1].granted),
        "stalls": len(seen),
        "busy_percent": sum(busy) / len(busy) if busy else None,
    }


def _added(conditions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What detection adds to style's latency, for each load with and without policies."""
    added = []
    for joint in conditions:
        alone = find({"conditions": conditions}, STYLE, joint["policies"], joint["load"])
        if joint["task"] != JOINT or alone is None or not alone["style"]["frames"] or not joint["style"]["frames"]:
            continue
        difference = {
            name: joint["style"][key] - alone["style"][key] for name, key in (("median", "p50"), ("p99", "p99"))
        }
        added.append({"policies": joint["policies"], "load": joint["load"], **difference})
    return added


def _ratio(above: Mapping[str, Any] | None, below: Mapping[str, Any] | None) -> float | None:
    if above is None or below is None or not above["style"]["p99"] or not below["style"]["p99"]:
        return None
    return float(above["style"]["p99"] / below["style"]["p99"])


def describe(results: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The figures as a table for a terminal; the paper's Table XII beside them."""
    head = f"{'task':10} {'policies':8} {'load':7} {'style p50':>9} {'p90':>6} {'p99':>6} {'p99.9':>6} {'max':>7}"
    lines = [f"{head} {'late':>5} {'lost':>5} {'style Hz':>8} {'det. Hz':>7} {'stalls':>6}"]
    for entry in results["conditions"]:
        style, detection = entry["style"], entry["detection"]
        policies = "on" if entry["policies"] else "off"
        times = " ".join(
            f"{_figure(style[key]):>{width}}"
            for key, width in zip(("p50", "p90", "p99", "p99.9", "max"), (9, 6, 6, 6, 7))
        )
        rates = f"{_mean(style['rate_hz']):>8.1f} {_mean(detection['rate_hz']):>7.1f}"
        losses = f"{style['misses']:>5} {style['lost']:>5}"
        lines.append(f"{entry['task']:10} {policies:8} {entry['load']:7} {times} {losses} {rates} {entry['stalls']:>6}")
    lines += ["", "Milliseconds from the camera's stamp to the published picture."]
    lines += [f"{key:28} {_figure(value, 2)}" for key, value in summary.items()]
    lines += [
        "",
        f"The paper's Table XII: style {PAPER['style_s']:g} s, detection {PAPER['detection_s']:g} s, joint "
        f"{PAPER['joint_s']:g} s an image: +{PAPER['added_s'] * 1e3:.0f} ms, {PAPER['cpu_percent']:g} % CPU.",
    ]
    return "\n".join(lines)


def _figure(value: Any, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else "-" if value is None else str(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
