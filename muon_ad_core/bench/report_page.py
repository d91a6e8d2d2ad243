# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of a joint report, for readers who have not seen the project."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

from muon_ad_core.bench import report_plots
from muon_ad_core.bench.page_parts import bars, legend, page, plot, table

CAUSES = {
    "superseded": "a newer frame arrived while this one waited",
    "lost_in_transport": "the middleware lost it on the way",
    "out_of_order": "it came after a newer frame",
    "clock_jumped_back": "its stamp went back",
    "max_rate": "above the rate the node was told to keep to",
    "deactivated": "the node was being stopped",
    "failed": "the node failed on it",
    "unaccounted": "no counter explains it (lost before the node saw it, or still on its way at the end)",
    "overrun": "the source was too slow to make it",
    "not_captured": "the source skipped it",
    "unsupported_encoding": "its encoding is not supported",
    "size_mismatch": "its data do not fit its size",
}


def render_page(report: Mapping[str, Any], sheet_jpeg: bytes | None = None) -> str:
    """The page; `sheet_jpeg` is a picture of some of the frames, put into the page."""
    sections = [
        _opening(report),
        _sheet(sheet_jpeg),
        _latency(report),
        _rates(report),
        _losses(report),
        _nodes(report),
        _machine(report),
        _method(report),
    ]
    return page("Muon-AD: report of a run", sections)


def _opening(report: Mapping[str, Any]) -> str:
    config, machine = report.get("config", {}), report.get("machine", {})
    size = "{}×{}".format(*config["picture_size"]) if config.get("picture_size") else "a camera"
    goals = report["goals"]
    met = sum(goal["met"] for goal in goals)
    tiles = "".join(map(_tile, goals))
    return (
        "<h1>Live style transfer with object detection beside it</h1>"
        f"<p>For {report['seconds']:.0f} seconds, the pictures of the source <i>{escape(str(config.get('source')))}</i>"
        f" ({size}, {_camera_rate(report):.0f} a second) were redrawn in a style while objects were looked for "
        f"in the same pictures, on {_processor(machine)}. Camera, style, detection "
        "and scheduler are separate ROS&nbsp;2 processes that exchange real messages. The styles were changed while "
        f"frames flowed. <b>{met} of {len(goals)} goals met.</b></p>"
        f'<div class="tiles">{tiles}</div>{_load_note(report)}'
    )


def _processor(machine: Mapping[str, Any]) -> str:
    if "processor" not in machine:
        return "this machine"
    count = machine["processors"]
    return f"{escape(machine['processor'])} ({count} processor{'s' if count > 1 else ''})"


def _tile(goal: Mapping[str, Any]) -> str:
    measured = "–" if goal["measured"] is None else f"{goal['measured']:.1f}".removesuffix(".0")
    relation = {">=": "at least", "<=": "at most"}[goal["relation"]]
    verdict = "met" if goal["met"] else "missed"
    return (
        f'<div class="tile {verdict}"><b>{measured} {goal["unit"]}</b><span>{escape(goal["name"])}</span>'
        f'<span class="verdict">{verdict}: {relation} {goal["bound"]:g} {goal["unit"]}</span></div>'
    )


def _load_note(report: Mapping[str, Any]) -> str:
    """Says when other programs took a good part of the processors, because the goals are for an idle machine."""
    others = report["other_load_percent"]
    if others is None or others < 10.0:
        return ""
    return (
        f'<p class="note">Other programs used {others:.0f} % of the processors meanwhile; the goals are for an '
        "otherwise idle machine.</p>"
    )


def _sheet(jpeg: bytes | None) -> str:
    if jpeg is None:
        return ""
    data = base64.b64encode(jpeg).decode()
    return (
        '<figure><img alt="Camera picture, stylised picture and detected objects at several moments" '
        f'src="data:image/jpeg;base64,{data}"><figcaption>Moments of the run: the camera\'s picture, what style '
        "transfer made of it, and what the detector found in it.</figcaption></figure>"
    )


def _latency(report: Mapping[str, Any]) -> str:
    levels = [(style, f"a frame, level {name}") for name, style in report_plots.level_styles(report).items()]
    colours = legend(*levels, ("bad", "a frame lost, or beyond the top"), ("stall", "the machine stalled"))
    rows = [
        ["", "p50", "p90", "p99", "max", "frames"],
        _summary_row("stamp → stylised picture published", report["latency_ms"]),
        _summary_row("stamp → received by the recorder, which yields to all", report["latency_received_ms"]),
        _summary_row("stamp → detections published", report["detection_latency_ms"]),
    ]
    stages = [(stage, value, "ms") for stage, value in report["stages_ms"].items() if value is not None]
    return (
        "<h2>How old is the stylised picture?</h2><p>From the instant in the camera's stamp to the publication of the "
        "stylised picture, for every frame. The strip names the style in force, colours tell the level of "
        "detail that served the frame.</p>"
        f"{plot(report, report_plots.latency_over_time)}{colours}{_styles(report)}"
        f"{plot(report, report_plots.latency_histogram)}{table(rows, numbers=range(1, 6))}"
        "<p>Where the time goes (median of each stage, milliseconds): "
        "<i>transport</i> from camera to node, <i>wait</i> for the previous frame, <i>convert</i> between messages and "
        f"pictures, <i>infer</i> in the network, <i>publish</i>.</p>{bars(stages)}"
    )


def _styles(report: Mapping[str, Any]) -> str:
    """What the numbers in the strip stand for, where a name did not fit."""
    segments = report_plots.style_segments(report["changes"], report["seconds"])
    names = (f"<b>{number}</b> {escape(name)}" for number, (_, _, name) in enumerate(segments, start=1))
    return f'<p class="legend">{" &nbsp; ".join(names)}</p>' if len(segments) > 1 else ""


def _rates(report: Mapping[str, Any]) -> str:
    colours = legend(("c3", "taken by the camera"), ("c1", "stylised"), ("c2", "searched for objects"))
    return (
        f"<h2>How many frames a second?</h2>{plot(report, report_plots.rates)}{colours}"
        f"<p>Detection ran at {report['detection_rate_hz']:.1f} Hz beside {_camera_rate(report):.1f} Hz of pictures."
        "</p>"
    )


def _losses(report: Mapping[str, Any]) -> str:
    lost = report["frames_in"] - report["frames_stylized"]
    counts = [
        (f"{node}: {cause}", float(count), CAUSES.get(cause, ""))
        for node, causes in report["drops_by_node"].items()
        for cause, count in causes.items()
    ]
    if report["drops"].get("unaccounted"):
        counts.append(("style_transfer: unaccounted", report["drops"]["unaccounted"], CAUSES["unaccounted"]))
    rows = [["what", "frames", "meaning"], *([what, f"{count:.0f}", why] for what, count, why in counts)]
    listed = table(rows, numbers=[1]) if counts else "<p>No node dropped a frame.</p>"
    return (
        f"<h2>What was lost, and why?</h2><p>The camera published {report['frames_in']} frames; {lost} of them did not "
        f"come out stylised. Every node counts what it does not process, by cause; frames the detector skips on "
        f"purpose are counted here too.</p>{listed}{_recording_note(report)}"
    )


def _recording_note(report: Mapping[str, Any]) -> str:
    gaps = report["timings_not_recorded"]
    if not gaps:
        return ""
    return (
        f'<p class="note">{gaps} timing messages were lost on their way to the recorder, so that latencies of that '
        "many frames are missing here.</p>"
    )


def _nodes(report: Mapping[str, Any]) -> str:
    memory = [(node, value, "MB") for node, value in report["rss_mb"].items()]
    rows = [["node", "policy asked", "granted", "why not as asked"]]
    rows += [[node, entry["asked"], entry["granted"], entry["reason"]] for node, entry in report["policies"].items()]
    engines = [["node", "engine", "level", "runtime"]]
    engines += [[node, *entry.values()] for node, entry in report["engines"].items()]
    processors = [(node, percent, "%") for node, percent in report["cpu_percent"].items() if percent is not None]
    torch = ", ".join(report["torch_nodes"]) or "none"
    return (
        f"<h2>What do the nodes use?</h2><p>Resident memory of each process, largest value:</p>{bars(memory)}"
        f"<p>Processor time, in percent of one processor:</p>{bars(processors)}"
        f"{_restarts(report)}<p>Processes that load PyTorch: {escape(torch)}.</p>{table(engines)}"
        f"<p>Scheduling policies, as the kernel granted them:</p>{table(rows)}"
    )


def _restarts(report: Mapping[str, Any]) -> str:
    crashed = ", ".join(f"{node} {count} times" for node, count in report.get("restarts", {}).items())
    return f"<p>Crashed and started again: {escape(crashed)}.</p>" if crashed else ""


def _machine(report: Mapping[str, Any]) -> str:
    stalls = report["stalls"]
    facts = [[name.replace("_", " "), str(value)] for name, value in report.get("machine", {}).items()]
    facts += [[name.replace("_", " "), f"{value:.1f}"] for name, value in report["machine_use"].items()]
    seen = (
        f"{stalls['count']} stalls of {stalls['total_ms']:.0f} ms in all, the worst {stalls['worst_ms']:.0f} ms"
        if stalls["count"]
        else "no stall"
    )
    return (
        f"<h2>The machine</h2><p>A witness process ({escape(stalls['witness_policy'])}) that only sleeps and wakes saw "
        f"{seen} (more than {stalls['threshold_ms']:g} ms late). While it is held up, so is everything else.</p>"
        f"{table(facts)}"
    )


def _method(report: Mapping[str, Any]) -> str:
    config = report.get("config", {})
    settings = [[name.replace("_", " "), str(value)] for name, value in config.items()]
    return (
        "<h2>How this was measured</h2><p>A recorder node wrote every header, timing and status to one file; this page "
        "is computed from it. A frame is known by its stamp and frame_id, so that a lost frame misaligns nothing. "
        "Measuring begins once every node is active and has delivered a frame, and some seconds later; what came "
        "before is left out. Percentiles are exact values, not estimates. Rates are (N − 1) / (last − first). The "
        "recorder runs on the same machine and its cost is part of what is seen here.</p>"
        f"{table(settings)}<footer>{escape(report['created']) + '. ' if report.get('created') else ''}"
        "Times in seconds count from the "
        "beginning of the measured time.</footer>"
    )


def _camera_rate(report: Mapping[str, Any]) -> float:
    return report["frames_in"] / report["seconds"] if report["seconds"] else 0.0


def _summary_row(name: str, summary: Mapping[str, float | None]) -> list[str]:
    values = (summary[key] for key in ("p50", "p90", "p99", "max"))
    return [name, *("–" if value is None else f"{value:.1f}" for value in values), f"{summary['count']:.0f}"]
