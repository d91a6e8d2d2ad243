# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of ``bench joint``: p99 as bars, every condition in a table, the paper's beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from muon_ad_core.bench.joint_figures import DETECTION, PAPER
from muon_ad_core.bench.page_style import STYLE_SHEET

COLUMNS = ("task", "policies", "load", "p50", "p90", "p99", "p99.9", "max", "late", "lost", "style Hz", "detection Hz")
TILES = (
    ("p99_ratio", "style p99, joint beside processor hogs ÷ alone and unloaded", "×"),
    ("ratio_without_policies", "the same without policies", "×"),
    ("added_ms_median", "what detection adds to style's median", "ms"),
    ("missed_deadlines", "deadlines missed outside witnessed stalls, joint, policies on", ""),
    ("witness_stalls", "stalls of the machine seen by the witness", ""),
    ("overload_throughput_ratio", "style's throughput under overload, joint ÷ alone", "×"),
)


def render_page(results: Mapping[str, Any], summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The page of the measurement's results, summary and config."""
    body = "".join((_opening(summary, config), _bars(results), _table(results), _paper(results), _method()))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Muon-AD: joint task under load</title><style>{STYLE_SHEET}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def _opening(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{_figure(summary[key], 2)} {unit}</b><span>{escape(text)}</span></div>'
        for key, text, unit in TILES
        if key in summary
    )
    return (
        "<h1>Style first: detection and other load beside it</h1><p>Style transfer alone, detection alone and both, "
        "each with the scheduler's policies and without, each beside background load; "
        f'{config["rounds"]} rounds of {config["seconds"]:g} s in random order.</p><div class="tiles">{tiles}</div>'
    )


def _bars(results: Mapping[str, Any]) -> str:
    entries = [entry for entry in results["conditions"] if entry["task"] != DETECTION and entry["style"]["p99"]]
    top = max((entry["style"]["p99"] for entry in entries), default=1.0)
    rows = "".join(
        f'<span>{_name(entry)}</span><div class="track"><div class="fill" style="width:'
        f'{100.0 * entry["style"]["p99"] / top:.1f}%"><span class="value">{entry["style"]["p99"]:.1f} ms</span>'
        "</div></div>"
        for entry in sorted(entries, key=lambda entry: (entry["load"], entry["task"], not entry["policies"]))
    )
    return f'<h2>99 of 100 stylised pictures are younger than</h2><div class="bars">{rows}</div>'


def _table(results: Mapping[str, Any]) -> str:
    rows = [_row("th", COLUMNS)]
    for entry in results["conditions"]:
        style, detection = entry["style"], entry["detection"]
        times = [_figure(style[key]) for key in ("p50", "p90", "p99", "p99.9", "max")]
        counts = [str(style["misses"]), str(style["lost"])]
        rates = [_figure(_mean(worker["rate_hz"])) for worker in (style, detection)]
        policies = "on" if entry["policies"] else "off"
        rows.append(_row("td", [entry["task"], policies, entry["load"], *times, *counts, *rates]))
    return f'<h2>All conditions</h2><div class="scroll"><table>{"".join(rows)}</table></div>'


def _paper(results: Mapping[str, Any]) -> str:
    rows = [_row("th", ("", "style", "detection", "joint", "added", "processors busy"))]
    rows.append(
        _row(
            "td",
            (
                "paper, Table XII (optimiser, an image)",
                f"{PAPER['style_s']:g} s",
                f"{PAPER['detection_s']:g} s",
                f"{PAPER['joint_s']:g} s",
                f"{PAPER['added_s'] * 1e3:.0f} ms",
                f"{PAPER['cpu_percent']:g} %",
            ),
        )
    )
    found = {entry["task"]: entry for entry in results["conditions"] if entry["policies"] and entry["load"] == "none"}
    medians = [found[task][key]["p50"] if task in found else None for task, key in _OURS]
    added = next(
        (entry["median"] for entry in results["added_ms"] if entry["policies"] and entry["load"] == "none"), None
    )
    busy = found["joint"]["busy_percent"] if "joint" in found else None
    ours = [f"{_figure(value)} ms" for value in (*medians, added)]
    rows.append(_row("td", ("here (student, a frame, median)", *ours, f"{_figure(busy)} %")))
    return f'<h2>Beside the paper</h2><div class="scroll"><table>{"".join(rows)}</table></div>'


_OURS = (("style", "style"), ("detection", "detection"), ("joint", "style"))


def _method() -> str:
    return (
        '<p class="note">Milliseconds from the camera\'s stamp to the published picture, every frame. "late" counts '
        'frames beyond the deadline, "lost" frames superseded by newer ones or lost on the way. A witness process of '
        "the highest priority tells when the machine itself stood still; those frames are marked in the data.</p>"
    )


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['task']}, load {entry['load']}, policies {'on' if entry['policies'] else 'off'}"


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _figure(value: Any, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else "–" if value is None else str(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
