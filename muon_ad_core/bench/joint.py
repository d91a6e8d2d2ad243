# SPDX-License-Identifier: Apache-2.0
"""What detection and other load do to style: alone and joint, with and without policies, beside hogs, interleaved."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
from muon_ad_core.bench.joint_figures import (
    DETECTION,
    JOINT,
    STYLE,
    TASKS,
    Condition,
    Window,
    build_results,
    describe,
    summarise,
)
from muon_ad_core.bench.joint_overload import measure_overload
from muon_ad_core.bench.joint_page import render_page
from muon_ad_core.bench.load import LOADS, load
from muon_ad_core.bench.task_session import TaskSession
from muon_ad_core.bench.witness import Witness
from muon_ad_core.errors import ParameterError, UserError

NODE_OF = {STYLE: "style_transfer", DETECTION: "detector"}
SETTLE_S = 2.0  # after a change of condition, before measuring
TRAIL_S = 0.7  # for the last results to arrive
QUICK = {"rounds": 1, "seconds": 3.0, "loads": ["none", "cpu"]}
MEDIUM = {"rounds": 3, "seconds": 5.0, "loads": ["none", "cpu"]}
FULL = {"rounds": 3, "seconds": 10.0, "loads": list(LOADS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench joint``."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="one short round, beside processor hogs only (2 minutes)")
    length.add_argument(
        "--medium", action="store_true", help="three rounds of 5 s each, beside processor hogs only (7 minutes)"
    )
    parser.add_argument("--rounds", type=int, help="how often each condition is measured (default: 3)")
    parser.add_argument("--seconds", type=float, help="length of each measurement (default: 10)")
    parser.add_argument(
        "--loads", nargs="+", choices=LOADS, metavar="LOAD", help=f"of {', '.join(LOADS)} (default: all)"
    )
    parser.add_argument("--source", default="motorcycle", help="scene of the emulated camera (default: motorcycle)")
    parser.add_argument(
        "--overload", type=float, default=120.0, metavar="HZ", help="frames offered at the end; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of conditions (default: 0)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page to this file")


def measure(args: argparse.Namespace) -> Measurement:
    """Run all conditions. Raises ParameterError for senseless lengths, UserError when the joint task does not run."""
    config = _config(args)
    log = Path(tempfile.gettempdir()) / "muon_ad_bench_joint.log"
    overrides = {"detector": {"max_rate": "0.0"}}  # detection on every frame
    windows: list[Window] = []
    overload = None
    order = random.Random(args.seed)
    with Witness() as witness, TaskSession(args.source, overrides, log) as session:
        session.wait_until_delivering()
        for number in range(config["rounds"]):
            for condition in _conditions(config["loads"], order):
                print(f"round {number + 1} of {config['rounds']}: {condition}", flush=True)
                windows.append(_measure(session, condition, config["seconds"]))
        if config["overload_hz"]:
            print(f"overload: {config['overload_hz']:g} frames a second offered", flush=True)
            _enter(session, Condition(JOINT, True, "none"))
            try:
                overload = measure_overload(session, config["overload_hz"], config["seconds"], config["rounds"])
            except UserError as error:  # the figures before are worth keeping
                print(f"overload could not be measured: {error}", flush=True)
        deadline_ms = session.ask("look")["workers"]["style_transfer"]["deadline_ms"]
    results = build_results(windows, witness.stalls, deadline_ms) | {"overload": overload}
    summary = summarise(results, witness.stalls) | _overload_summary(overload)
    if args.html is not None:
        _write(args.html, render_page(results, summary, config))
    text = describe(results, summary)
    return Measurement(config, results, summary, text, samples=_samples(windows), stalls=witness.stalls)


def _config(args: argparse.Namespace) -> dict[str, Any]:
    preset = QUICK if args.quick else MEDIUM if args.medium else FULL
    given = {name: getattr(args, name) for name in preset if getattr(args, name) is not None}
    config = {**preset, **given, "source": args.source, "overload_hz": args.overload, "seed": args.seed}
    if not 1 <= config["rounds"] <= 100:
        raise ParameterError(f"--rounds must be between 1 and 100, not {config['rounds']}")
    if not 1.0 <= config["seconds"] <= 3600.0:
        raise ParameterError(f"--seconds must be between 1 and 3600, not {config['seconds']:g}")
    if not 0.0 <= config["overload_hz"] <= 240.0:
        raise ParameterError(f"--overload must be between 0 and 240, not {config['overload_hz']:g}")
    return config


def _conditions(loads: list[str], order: random.Random) -> list[Condition]:
    """All conditions in a random order, so that a change of the machine over time hits none of them more."""
    conditions = [Condition(task, policies, load) for task in TASKS for policies in (True, False) for load in loads]
    order.shuffle(conditions)
    return conditions


def _measure(session: TaskSession, condition: Condition, seconds: float) -> Window:
    _enter(session, condition)
    with load(condition.load):
        session.pause(SETTLE_S)
        begin_ns = time.time_ns()
        session.pause(seconds)
        end_ns = time.time_ns()
        look = session.ask("look")
    session.pause(TRAIL_S)
    timings = session.ask("timings", begin_ns=begin_ns, end_ns=end_ns)
    use = session.monitor.machine_use(begin_ns, end_ns)
    return Window(
        condition,
        begin_ns,
        end_ns,
        {task: timings[node] for task, node in NODE_OF.items()},
        {name: worker["granted"] for name, worker in look["workers"].items()},
        use.get("busy_percent"),
    )


def _enter(session: TaskSession, condition: Condition) -> None:
    """Bring about a condition, but for its load; the scheduler begins anew with the best allowances."""
    session.ask("set", node="scheduler", values={"enabled": False})
    for task, node in NODE_OF.items():
        active = session.ask("look")["workers"][node]["state"] == "active"
        wanted = condition.task in (task, JOINT)
        if active != wanted:
            session.ask("transition", node=node, transition="activate" if wanted else "deactivate")
    if condition.policies:
        session.ask("set", node="scheduler", values={"enabled": True})
    session.pause(1.5)  # every worker tells its state and grant once


def _overload_summary(overload: dict[str, Any] | None) -> dict[str, float | None]:
    if overload is None:
        return {}
    watches = overload["joint"]
    samples = [sample for watch in watches for sample in watch["memory_mb"].values()]
    growth = [after - before for before, after in samples if before is not None]
    return {
        "overload_throughput_ratio": overload["throughput_ratio"],
        "overload_worst_interval_ratio": overload["worst_interval_ratio"],
        "overload_style_hz": overload["style_hz"],
        "overload_detection_hz": median(watch["detection_hz"] for watch in watches),
        "overload_restarts": sum(watch["restarts"] for watch in overload["alone"] + watches),
        "overload_memory_growth_mb": max(growth, default=None),
    }


def _samples(windows: list[Window]) -> dict[str, Series]:
    """Style's latencies by condition, each round a run of its own."""
    runs: dict[str, list[list[float]]] = {}
    for window in windows:
        if window.condition.task != DETECTION:
            latencies = [row["total_ms"] for row in window.timings[STYLE]]
            runs.setdefault(f"style latency: {window.condition}", []).append(latencies)
    return {name: Series("ms", members, LOWER) for name, members in runs.items()}


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"--html {path} cannot be written: {error.strerror}") from None
