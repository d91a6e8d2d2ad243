# SPDX-License-Identifier: Apache-2.0
"""Pairs of frames of a simulated D415 and CSI camera that are lost, by where their stamps come from."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from muon_ad_core.bench.benchmark import Measurement
from muon_ad_core.bench.camera_clocks import Integers, Simulation, SimulationConfig, simulate
from muon_ad_core.bench.sync_runs import MS, Pairing, pair, pair_greedily, translate, translate_by_fit
from muon_ad_core.errors import ParameterError
from muon_ad_core.timing.clock import Stamp
from muon_ad_core.timing.estimators import ClockEstimator, HullEstimator, TransportDelay, TwoWayEstimator
from muon_ad_core.timing.kalman import KalmanEstimator

ESTIMATORS: dict[str, Callable[[TransportDelay], ClockEstimator]] = {
    "hull": HullEstimator,
    "kalman": KalmanEstimator,
    "two_way": lambda delay: TwoWayEstimator(),
}
DEFAULT_ESTIMATOR = "hull"  # the better one of those that need nothing but the frames
TOLERANCE_NS = 1_000_000
"""A pair is right when its frames were taken within the slop and this much."""
WIDE_SLOP_NS = 100_000_000  # as is often set for the greedy policy
SETTLED_NS = 1_000_000
SETTLING_NS = 30_000_000_000
METHODS = {
    "arrival": "arrival stamps",
    "arrival_less_delay": "arrival less the least delay",
    "hull": "translated: lower hull",
    "kalman": "translated: Kalman filter",
    "two_way": "translated: two-way queries",
    "librealsense_fit": "librealsense's fit of 15",
    "greedy": "hull, paired greedily",
    "greedy_wide_slop": "hull, greedily, slop 0.1 s",
    "greedy_arrival": "arrival, paired greedily",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench sync``."""
    parser.add_argument("--seconds", type=float, default=3600.0, help="simulated time (default: 3600)")
    parser.add_argument("--seed", type=int, default=0, help="of the random delays and drops (default: 0)")


def measure(args: argparse.Namespace) -> Measurement:
    """Simulate and compare. Raises ParameterError when the time is not between a minute and a day."""
    if not 60.0 <= args.seconds <= 86_400.0:
        raise ParameterError(f"--seconds must be between 60 and 86400, not {args.seconds:g}")
    config = SimulationConfig(seconds=args.seconds, seed=args.seed)
    results = compare(simulate(config), config)
    summary = summarise(results)
    return Measurement(asdict(config), results, summary, describe(results))


def compare(simulation: Simulation, config: SimulationConfig) -> dict[str, Any]:
    """All methods on the same frames, each paired with a slop of half a period unless its name says else."""
    usb, csi = simulation.usb, simulation.csi
    slop_ns = config.period_ns // 2
    possible = len(pair(simulation, usb.taken_ns, csi.taken_ns, config).pairs)
    methods: dict[str, dict[str, Any]] = {}

    def judge(name: str, usb_ns: Integers, pairing: Pairing) -> None:
        methods[name] = judge_stamps(simulation, usb_ns) | judge_pairs(simulation, pairing, possible, slop_ns)

    judge("arrival", usb.arrival_ns, pair(simulation, usb.arrival_ns, csi.arrival_ns, config))
    usb_ns = usb.arrival_ns - round(config.assumed_usb_delay_ms * MS)
    csi_ns = csi.arrival_ns - round(config.assumed_csi_delay_ms * MS)
    judge("arrival_less_delay", usb_ns, pair(simulation, usb_ns, csi_ns, config))
    translated = {}
    for name, make in ESTIMATORS.items():
        stamps, relearnt = translate(simulation, config, make)
        translated[name] = np.array([stamp.stamp_ns for stamp in stamps])
        judge(name, translated[name], pair(simulation, translated[name], csi.stamp, config))
        methods[name] |= judge_learning(simulation, stamps) | {"relearnt": relearnt}
    usb_ns = translate_by_fit(simulation)
    judge("librealsense_fit", usb_ns, pair(simulation, usb_ns, csi.stamp, config))
    usb_ns = translated[DEFAULT_ESTIMATOR]
    judge("greedy", usb_ns, pair_greedily(simulation, usb_ns, csi.stamp, slop_ns))
    judge("greedy_wide_slop", usb_ns, pair_greedily(simulation, usb_ns, csi.stamp, WIDE_SLOP_NS))
    judge("greedy_arrival", usb.arrival_ns, pair_greedily(simulation, usb.arrival_ns, csi.arrival_ns, slop_ns))
    frames = {"usb_frames": usb.taken_ns.size, "csi_frames": csi.taken_ns.size, "possible_pairs": possible}
    return frames | {"default_estimator": DEFAULT_ESTIMATOR, "methods": methods}


def judge_stamps(simulation: Simulation, stamp_ns: Integers) -> dict[str, Any]:
    """Errors of stamps of the USB frames, and how many lie after the arrival or not after the stamp before."""
    error_ms = np.abs(stamp_ns - simulation.usb.taken_ns) / MS
    return {
        "error_p50_ms": _rounded(np.percentile(error_ms, 50)),
        "error_p99_ms": _rounded(np.percentile(error_ms, 99)),
        "error_max_ms": _rounded(error_ms.max()),
        "future_stamps": int((stamp_ns > simulation.usb.arrival_ns).sum()),
        "backward_stamps": int((np.diff(stamp_ns) <= 0).sum()),
    }


def judge_pairs(simulation: Simulation, pairing: Pairing, possible: int, slop_ns: int) -> dict[str, Any]:
    """How many pairs are right, and the share of the possible ones that is missing."""
    taken_usb = simulation.usb.taken_ns[pairing.pairs[:, 0]]
    taken_csi = simulation.csi.taken_ns[pairing.pairs[:, 1]]
    right = int((np.abs(taken_usb - taken_csi) <= slop_ns + TOLERANCE_NS).sum())
    figures: dict[str, Any] = {
        "loss": _rounded(1.0 - right / possible),
        "right_pairs": right,
        "wrong_pairs": len(pairing.pairs) - right,
    }
    if pairing.counts:
        figures["counts"] = {name: asdict(counts) for name, counts in pairing.counts.items()}
        accounted = sum(counts.accounted() for counts in pairing.counts.values())
        figures["unaccounted_frames"] = simulation.usb.taken_ns.size + simulation.csi.taken_ns.size - accounted
    return figures


def judge_learning(simulation: Simulation, stamps: Sequence[Stamp]) -> dict[str, Any]:
    """How often the stated uncertainty holds, how large it is, and how long after the restart errors exceed 1 ms."""
    taken_ns = simulation.usb.taken_ns
    error_ns = np.abs(np.array([stamp.stamp_ns for stamp in stamps]) - taken_ns)
    uncertainty_ns = np.array([stamp.uncertainty_ns for stamp in stamps])
    since_ns = taken_ns - taken_ns[np.searchsorted(taken_ns, simulation.reset_ns)]
    unsettled = since_ns[(since_ns >= 0) & (since_ns < SETTLING_NS) & (error_ns > SETTLED_NS)]
    return {
        "uncertainty_p50_ms": _rounded(np.percentile(uncertainty_ns, 50) / MS),
        "uncertainty_holds": _rounded(np.mean(error_ns <= uncertainty_ns)),
        "settling_after_restart_s": _rounded(unsettled[-1] / 1e9 if unsettled.size else 0.0),
    }


def summarise(results: dict[str, Any]) -> dict[str, Any]:
    """The figures that goals are about; losses are shares of the pairs that true stamps would give."""
    methods = results["methods"]
    ours, fit = methods[results["default_estimator"]], methods["librealsense_fit"]
    return {
        "loss_arrival": methods["arrival"]["loss"],
        "loss_arrival_less_delay": methods["arrival_less_delay"]["loss"],
        "loss_translated": ours["loss"],
        "loss_librealsense_fit": fit["loss"],
        "loss_greedy": methods["greedy"]["loss"],
        "loss_greedy_wide_slop": methods["greedy_wide_slop"]["loss"],
        "loss_greedy_arrival": methods["greedy_arrival"]["loss"],
        "error_p99_ms": ours["error_p99_ms"],
        "error_max_ms": ours["error_max_ms"],
        "error_p99_librealsense_fit_ms": fit["error_p99_ms"],
        "error_max_librealsense_fit_ms": fit["error_max_ms"],
        "future_stamps": ours["future_stamps"],
        "backward_stamps": ours["backward_stamps"],
        "future_stamps_librealsense_fit": fit["future_stamps"],
        "backward_stamps_librealsense_fit": fit["backward_stamps"],
        "unaccounted_frames": ours["unaccounted_frames"],
    }


def describe(results: dict[str, Any]) -> str:
    """The figures as a table."""
    lines = [
        f"{results['usb_frames']} D415 frames, {results['csi_frames']} CSI frames; "
        f"{results['possible_pairs']} pairs by true times.",
        "",
        f"{'':30} {'lost':>8} {'wrong':>7} {'error p50':>10} {'p99':>8} {'max':>9}  {'future':>6} {'back':>5}",
    ]
    for name, title in METHODS.items():
        figures = results["methods"][name]
        lines.append(
            f"{title:30} {figures['loss']:8.2%} {figures['wrong_pairs']:7} {figures['error_p50_ms']:7.3f} ms "
            f"{figures['error_p99_ms']:8.3f} {figures['error_max_ms']:9.3f}  "
            f"{figures['future_stamps']:6} {figures['backward_stamps']:5}"
        )
    return "\n".join(lines)


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)
