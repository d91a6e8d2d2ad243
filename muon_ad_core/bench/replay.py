# SPDX-License-Identifier: Apache-2.0
"""Play a recording through the graph and measure latency, losses, jitter, age of results, load, and the highest rate.

Every frame is known by stamp and frame_id; what was lost or late is traced to where it happened. The keys of NVIDIA's
ros2_benchmark stand beside ours, computed as there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement
    from muon_ad_core.bench.replay_session import Observed, RunPlan, Session

DEADLINE_MS = 33.0
ACCEPTED_LOSS = 0.05  # of the peak search, as in ros2_benchmark
FULL_RATE = 0.97  # a player slower than this share of the asked rate could not deliver it
PEAK_STEP = 1.03  # the peak is known when the bounds are this near
HIGHEST_RATE = 1000.0
NO_FAULT, FAULTS = "none", ("none", "drop", "stop-node", "stop-machine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench replay``."""
    add = parser.add_argument
    add("bag", nargs="?", type=Path, help="recording (MCAP or sqlite3) of any size; none in mode live")
    add("--graph", choices=("style", "joint", "running"), default="joint",
        help="style_transfer alone, with detector and scheduler, or nodes that run (default: joint)")  # fmt: skip
    add("--mode", choices=("timeline", "looping", "sweeping", "live"), default="",
        help="as in ros2_benchmark: recorded timing, fixed rate from the first frame again, fixed rate forwards and "
        "backwards, or a source that runs (default: timeline, with rates: looping)")  # fmt: skip
    add("--rates", type=_rates, default=[], metavar="HZ,HZ", help="fixed rates to play at, such as 10,30,60")
    add("--find-peak", action="store_true", help="search the highest rate with at most 5 %% of frames missed")
    add("--seconds", type=float, default=5.0, help="measured time of a run (default: 5)")
    add("--warm-up", type=float, default=2.0, metavar="SECONDS", help="played before, not measured (default: 2)")
    add("--runs", type=int, default=5, help="runs at each rate (default: 5)")
    add("--deadline", type=float, default=DEADLINE_MS, metavar="MS", help="for counting late results (default: 33)")
    add("--buffer", type=float, default=512.0, metavar="MB", help="memory for recorded frames (default: 512)")
    add("--namespace", default="replay", help="of the measured nodes (default: replay)")
    add("--output", default="stylized/image_raw", metavar="TOPIC", help="result (default: stylized/image_raw)")
    add("--fault", choices=FAULTS, default=NO_FAULT, help="disturb every run on purpose, to see it traced")
    add("--fault-size", type=float, default=0.0, metavar="N", help="frames dropped or milliseconds stopped")
    add("--log", type=Path, metavar="FILE", help="for the nodes' output (default: standard error)")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError for unusable options and recordings, and when the graph does not run."""
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.replay_results import make_measurement
    from muon_ad_core.bench.replay_session import Graph, Session

    mode = _check(args)
    graph = Graph(args.graph, args.namespace, args.output)
    if args.log is not None:
        args.log.parent.mkdir(parents=True, exist_ok=True)
    log = args.log.open("w", encoding="utf-8") if args.log is not None else sys.stderr
    bag = None if mode == "live" else args.bag
    session = Session(graph, bag, round(args.buffer * 1e6), log)
    observed: dict[str, list[Observed]] = {}
    peak: dict[str, Any] | None = None
    try:
        with session:
            recorded = float(session.player_facts.get("rate_hz", 0.0))
            for rate in args.rates or [recorded]:
                plan = _plan(args, mode, rate)
                name = f"{rate:g} Hz" if args.rates else mode
                observed[name] = [session.run(plan) for _ in range(args.runs)]
            if args.find_peak:
                peak = find_peak(session, args)
    finally:
        if args.log is not None:
            log.close()
    config = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()
              if key not in ("measure", "json", "benchmark", "command")}  # fmt: skip
    inputs = [describe_input(bag)] if bag is not None else []
    facts = {"mode": mode, "player": session.player_facts}
    return make_measurement(config, inputs, facts, observed, peak, session.stalls, args.deadline)


def find_peak(session: Session, args: argparse.Namespace) -> dict[str, Any]:
    """The highest rate at which at most 5 % of the frames have no result: doubled until it fails, then halved in.

    The player's own limit ends the search too, and is told. All tries are kept.
    """
    from muon_ad_core.bench.replay_schedule import LOOPING

    tries: list[dict[str, Any]] = []

    def holds(rate: float) -> bool:
        record = session.run(_plan(args, LOOPING, rate)).record
        sent, received = len(record.sent), len(record.latencies_ms())
        reached = sent / (args.seconds * rate)
        loss = 1.0 - received / sent if sent else 1.0
        held = loss <= ACCEPTED_LOSS and reached >= FULL_RATE
        tries.append({"rate_hz": rate, "loss": loss, "player_reached": reached, "held": held})
        return held

    low, high = 0.0, 30.0
    while high <= HIGHEST_RATE and holds(high):
        low, high = high, 2.0 * high
    while low == 0.0 and high > 1.0:  # not even the first one was held
        high /= 2.0
        if holds(high):
            low, high = high, 2.0 * high
    while low and high / low > PEAK_STEP:
        middle = (low * high) ** 0.5
        if holds(middle):
            low = middle
        else:
            high = middle
    failed = [entry for entry in tries if not entry["held"]]
    limited = bool(failed) and all(entry["loss"] <= ACCEPTED_LOSS for entry in failed)
    return {"rate_hz": low, "limited_by": "player" if limited else "graph", "tries": tries}


def _plan(args: argparse.Namespace, mode: str, rate: float) -> RunPlan:
    from muon_ad_core.bench.replay_session import Fault, RunPlan

    size = args.fault_size
    fault = {
        "none": Fault(),
        "drop": Fault(withhold=round(size or 1)),
        "stop-node": Fault(stop_node_ms=size or 200.0),
        "stop-machine": Fault(stop_machine_ms=size or 200.0),
    }[args.fault]
    return RunPlan(mode, rate, args.seconds, args.warm_up, fault)


def _check(args: argparse.Namespace) -> str:
    """The mode; raises ParameterError when options do not go together."""
    mode = args.mode or ("looping" if args.rates else "timeline")
    if mode == "live" and (args.bag or args.rates or args.find_peak):
        raise ParameterError("mode live measures a source that runs: leave out the recording, --rates and --find-peak")
    if mode == "live" and args.graph != "running":
        raise ParameterError("mode live needs --graph running, and --namespace for the nodes that run")
    if mode != "live" and args.bag is None:
        raise ParameterError("name a recording to play, or choose --mode live")
    if (mode in ("looping", "sweeping")) != bool(args.rates):
        raise ParameterError(f"mode {mode} {'needs' if not args.rates else 'has its own'} rates: see --rates")
    if not (0.5 <= args.seconds <= 3600.0 and 0.0 <= args.warm_up <= 60.0 and 1 <= args.runs <= 100):
        raise ParameterError("use 0.5 to 3600 --seconds, 0 to 60 seconds of --warm-up and 1 to 100 --runs")
    return mode


def _rates(text: str) -> list[float]:
    rates = [float(part) for part in text.split(",")]
    if not all(0.1 <= rate <= HIGHEST_RATE for rate in rates):
        raise argparse.ArgumentTypeError(f"rates must be between 0.1 and {HIGHEST_RATE:g} Hz")
    return rates
