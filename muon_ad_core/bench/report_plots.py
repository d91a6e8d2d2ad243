# SPDX-License-Identifier: Apache-2.0
"""The plots of a joint report, each drawn at a given width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from muon_ad_core.bench.svg_plot import Axis, Plot

Segment = tuple[float, float, str]
"""Begin and end in seconds, and what was shown."""

STRIP_HEIGHT = 34.0


def style_segments(changes: Sequence[Mapping[str, Any]], seconds: float) -> list[Segment]:
    """The stretches of a run with one style, blend or strength, from the parameters that were set."""
    state: dict[str, Any] = {"style": "", "style_b": "", "strength": 1.0}
    segments: list[Segment] = []
    for change in changes:
        if change["node"] != "style_transfer" or change["parameter"] not in state:
            continue
        state[change["parameter"]] = change["value"]
        label, at = _describe(state), min(max(0.0, change["at_s"]), seconds)
        if segments and segments[-1][2] == label:
            continue
        if segments:
            begin, _, name = segments.pop()
            segments += [(begin, at, name)] if at - begin > 0.1 else []  # parameters set together come as several
        segments.append((at, seconds, label))
    return [segment for segment in segments if segment[2]]


def latency_over_time(report: Mapping[str, Any], width: float) -> str:
    """Every frame's latency against time, with styles, stalls, lost frames and the deadline."""
    frames, seconds = report["frames"], report["seconds"]
    top = latency_limit(report)
    plot = Plot(width, 320.0, Axis(0.0, seconds, "seconds"), Axis(0.0, top, "milliseconds"), top=STRIP_HEIGHT)
    plot.strip(style_segments(report["changes"], seconds))
    for stall in report["stalls"]["events"]:
        tip = f"the machine stalled for {stall['ms']:.0f} ms"
        plot.span(stall["at_s"], stall["at_s"] + stall["ms"] / 1e3, "stall", tip)
    for at in frames["lost_at_s"]:
        plot.bar(at, at, 0.08 * top, "lost", f"lost at {at:.2f} s")
    for level, style in level_styles(report).items():
        inside = [point for point in _points(report, level) if point[1] <= top]
        plot.dots([x for x, _ in inside], [y for _, y in inside], style)
    beyond = [at for at, latency in zip(frames["at_s"], frames["latency_ms"]) if latency > top]
    plot.dots(beyond, [top] * len(beyond), "over")
    if report["deadline_ms"]:
        plot.level(report["deadline_ms"], f"deadline {report['deadline_ms']:g} ms", "deadline")
    return plot.svg("Latency of every frame over time")


def level_styles(report: Mapping[str, Any]) -> dict[str, str]:
    """The colour (a class of the style sheet) of each level of detail that served frames."""
    return dict(zip(sorted(report["frames_by_level"]), ("c1", "c2", "c4", "c3")))


def _points(report: Mapping[str, Any], level: str) -> list[tuple[float, float]]:
    frames = report["frames"]
    rows = zip(frames["at_s"], frames["latency_ms"], frames["level"])
    return [(at, latency) for at, latency, of in rows if of == level]


def latency_histogram(report: Mapping[str, Any], width: float) -> str:
    """How many frames took how long, with percentiles and the deadline."""
    latencies, summary = report["frames"]["latency_ms"], report["latency_ms"]
    top = latency_limit(report)
    bins = 60 if width > 600 else 30
    counts = [0] * bins
    for latency in latencies:
        counts[min(bins - 1, int(latency / top * bins))] += 1
    most = max(counts, default=0) or 1
    plot = Plot(width, 260.0, Axis(0.0, top, "milliseconds"), Axis(0.0, 1.12 * most, "frames"))
    for index, count in enumerate(counts):
        left, right = index * top / bins, (index + 1) * top / bins
        beyond = " or more" if index == bins - 1 else f" to {right:.1f}"
        plot.bar(left, right - 0.08 * top / bins, count, "c1", f"{count} frames: {left:.1f}{beyond} ms")
    for row, name in enumerate(("p50", "p90", "p99")):
        if summary[name] is not None and summary[name] <= top:
            plot.upright(summary[name], f"{name} {summary[name]:.1f}", "percentile", row)
    if report["deadline_ms"]:
        plot.upright(report["deadline_ms"], f"deadline {report['deadline_ms']:g}", "deadline", 3)
    return plot.svg("Histogram of latencies")


def rates(report: Mapping[str, Any], width: float) -> str:
    """Frames taken, frames stylised and pictures searched for objects, second by second."""
    series = report["per_second"]
    whole = max(1, int(report["seconds"] + 1e-6))  # a second that was not measured to its end would look slow
    middles = [second + 0.5 for second in range(whole)]
    names = ("frames_in", "frames_stylized", "detections")
    most = max(max(series[name][:whole]) for name in names)
    plot = Plot(width, 230.0, Axis(0.0, whole, "seconds"), Axis(0.0, 1.15 * max(most, 1), "in each second"))
    for name, style in zip(names, ("c3", "c1", "c2"), strict=True):
        plot.line(middles, series[name][:whole], style)
    return plot.svg("Rates second by second")


def latency_limit(report: Mapping[str, Any]) -> float:
    """Upper end of latency axes: room for the deadline and nearly all frames, without one outlier hiding the rest."""
    summary = report["latency_ms"]
    highest, tail = summary["max"] or 0.0, summary["p99"] or 0.0
    return max(1.25 * (report["deadline_ms"] or 0.0), min(1.08 * highest, 2.0 * tail), 1.0)


def _describe(state: Mapping[str, Any]) -> str:
    """A style state in a few words."""
    style = readable(state["style"])
    blended = f"{style} → {readable(state['style_b'])}" if state["style_b"] else style
    return blended if state["strength"] >= 1.0 or not blended else f"{blended}, {state['strength']:.0%} strength"


def readable(name: str) -> str:
    """A style's name for people."""
    return name.replace("_", " ")
