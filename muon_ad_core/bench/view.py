# SPDX-License-Identifier: Apache-2.0
"""What the live view costs: pictures a second, processor time added, and style latency with and without a page open.

Runs the joint task and the view as separate processes. Spans with a page open take turns with spans without, so that
what else goes on in the machine falls on both. The page is played by a program that takes and acknowledges everything
as the real one does, without a browser's own cost. Where playwright and a Chromium are installed, the real page is
opened afterwards, to time its first picture.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
from muon_ad_core.errors import ParameterError, UserError
from muon_ad_core.view import require_web_server

NAMESPACE = "bench_view"
PORT = 8199
SETTLE = 3.0  # seconds left out after every change
START_PATIENCE = 120.0  # seconds until the nodes deliver
SAMPLE_PERIOD = 0.5  # seconds
STREAMS = ("color", "stylized", "depth", "detections", "style_timing", "detector_timing")
BUDGET_PERCENT, LEAST_FPS, MOST_RATIO, MOST_FIRST_S = 15.0, 15.0, 1.1, 2.0


@dataclass
class Spans:
    """What was measured in the spans of one kind: lists with one entry a span."""

    style_ms: list[list[float]] = field(default_factory=list)  # stamp to published, every frame
    cpu_percent: list[dict[str, float]] = field(default_factory=list)  # of one processor, by node
    fps: list[dict[str, float]] = field(default_factory=list)  # by stream


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench view``."""
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one span (default: 10)")
    parser.add_argument("--turns", type=int, default=3, help="spans with a page, and as many without (default: 3)")
    parser.add_argument("--source", default="motorcycle", help="camera, as for muon-ad up (default: motorcycle)")


def measure(args: argparse.Namespace) -> Measurement:
    """Run and measure. Raises ParameterError for a bad option, UserError when the nodes do not deliver."""
    if not 2.0 <= args.seconds <= 600.0:
        raise ParameterError(f"--seconds must be between 2 and 600, not {args.seconds:g}")
    if not 1 <= args.turns <= 100:
        raise ParameterError(f"--turns must be between 1 and 100, not {args.turns}")
    require_web_server()
    from muon_ad_core.bench.witness import Witness

    with Witness() as witness:
        without, with_page, first_picture_s = _run(args)
    summary = summarise(without, with_page, first_picture_s)
    samples = {
        "style_without_page_ms": Series("ms", without.style_ms, LOWER),
        "style_with_page_ms": Series("ms", with_page.style_ms, LOWER),
    }
    results = {
        "cpu_percent_without_page": without.cpu_percent,
        "cpu_percent_with_page": with_page.cpu_percent,
        "fps": with_page.fps,
    }
    config = {"source": args.source, "seconds": args.seconds, "turns": args.turns, "streams": list(STREAMS)}
    text = describe(summary)
    return Measurement(config, results, summary, text, samples=samples, stalls=witness.stalls)


def summarise(without: Spans, with_page: Spans, first_picture_s: float | None) -> dict[str, Any]:
    """The figures that goals are about. `cpu_added_percent` is what all nodes together use more, of one processor."""
    p99_without = _percentile(without.style_ms, 99)
    p99_with = _percentile(with_page.style_ms, 99)
    total_without = np.mean([sum(use.values()) for use in without.cpu_percent])
    total_with = np.mean([sum(use.values()) for use in with_page.cpu_percent])
    return {
        "fps_stylized": round(float(np.mean([span.get("stylized", 0.0) for span in with_page.fps])), 2),
        "fps_color": round(float(np.mean([span.get("color", 0.0) for span in with_page.fps])), 2),
        "view_cpu_percent": round(float(np.mean([use.get("live_view", 0.0) for use in with_page.cpu_percent])), 2),
        "cpu_added_percent": round(float(total_with - total_without), 2),
        "style_p50_without_page_ms": round(_percentile(without.style_ms, 50), 3),
        "style_p50_with_page_ms": round(_percentile(with_page.style_ms, 50), 3),
        "style_p99_without_page_ms": round(p99_without, 3),
        "style_p99_with_page_ms": round(p99_with, 3),
        "style_p99_ratio": round(p99_with / p99_without, 3),
        "first_picture_s": None if first_picture_s is None else round(first_picture_s, 3),
    }


def describe(summary: dict[str, Any]) -> str:
    """The figures beside their goals."""
    first = summary["first_picture_s"]
    lines = [
        ("stylised pictures shown", f"{summary['fps_stylized']:.1f} Hz", f">= {LEAST_FPS:g} Hz"),
        ("processor time of the view", f"{summary['view_cpu_percent']:.1f} %", ""),
        ("added in all nodes", f"{summary['cpu_added_percent']:.1f} %", f"< {BUDGET_PERCENT:g} % of one core"),
        ("style p99 without a page", f"{summary['style_p99_without_page_ms']:.2f} ms", ""),
        ("style p99 with a page", f"{summary['style_p99_with_page_ms']:.2f} ms", ""),
        ("ratio", f"{summary['style_p99_ratio']:.3f}", f"<= {MOST_RATIO:g}"),
        ("first picture in Chromium", "not measured" if first is None else f"{first:.2f} s", f"<= {MOST_FIRST_S:g} s"),
    ]
    return "\n".join(f"{name:28} {value:>14}   {goal}" for name, value, goal in lines)


def _run(args: argparse.Namespace) -> tuple[Spans, Spans, float | None]:
    from muon_ad_core.bench.view_page import ProgramPage, time_first_picture
    from muon_ad_core.bench.view_timings import TimingListener
    from muon_ad_ros.bringup import joint_task, parameter_file
    from muon_ad_ros.environment import child_environment
    from muon_ad_ros.starter import Starter, StartOptions

    options = StartOptions(
        namespace=NAMESPACE,
        parameter_file=parameter_file("joint_task"),
        overrides={"live_view": {"port": str(PORT)}},
    )
    log = io.StringIO()
    starter = Starter(joint_task(args.source, view=True), options, child_environment(), log)
    without, with_page = Spans(), Spans()
    starter.start()
    try:
        with TimingListener(f"/{NAMESPACE}/style_transfer/timing") as timings, ProgramPage(PORT, STREAMS) as page:
            _until(starter, lambda: timings.count > 0, log, "stylised frames")
            page.open()
            _until(starter, lambda: page.counts["stylized"] > 0, log, "pictures on the page")
            page.close()
            for _ in range(args.turns):
                _span(starter, timings, args.seconds, without)
                page.open()
                _span(starter, timings, args.seconds, with_page, page)
                page.close()
        first_picture_s = time_first_picture(f"http://127.0.0.1:{PORT}/", lambda: starter.step(0.05))
    finally:
        starter.stop()
    return without, with_page, first_picture_s


def _span(starter: Any, timings: Any, seconds: float, spans: Spans, page: Any = None) -> None:
    """Let things settle, then measure one span."""
    from muon_ad_core.bench.processes import ProcessMonitor

    _step_for(starter, SETTLE)
    monitor = ProcessMonitor()
    timings.clear()
    before = dict(page.counts) if page else {}
    began, began_ns = time.monotonic(), time.time_ns()
    while time.monotonic() - began < seconds:
        monitor.sample({name: node.pid for name, node in starter.nodes.items()})
        _step_for(starter, SAMPLE_PERIOD)
    monitor.sample({name: node.pid for name, node in starter.nodes.items()})
    elapsed = time.monotonic() - began
    uses = monitor.use(began_ns, time.time_ns())
    spans.style_ms.append(timings.take())
    spans.cpu_percent.append({name: use.cpu_percent or 0.0 for name, use in uses.items()})
    spans.fps.append({stream: (page.counts[stream] - before.get(stream, 0)) / elapsed for stream in before})


def _until(starter: Any, condition: Callable[[], bool], log: io.StringIO, what: str) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while not condition():
        if time.monotonic() > deadline or starter.exit_code:
            last = log.getvalue().strip().splitlines()[-1:]
            raise UserError(f"no {what} came within {START_PATIENCE:g} s: {''.join(last) or 'the nodes are silent'}")
        starter.step(0.05)


def _step_for(starter: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        starter.step(min(left, 0.1))


def _percentile(runs: list[list[float]], percent: float) -> float:
    values = [value for run in runs for value in run]
    if not values:
        raise UserError("no stylised frame came while measuring: the machine is too busy, or style_transfer has ended")
    return float(np.percentile(values, percent))
