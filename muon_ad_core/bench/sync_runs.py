# SPDX-License-Identifier: Apache-2.0
"""Each way to stamp and to pair frames, run over the frames of a simulation in the order of their arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from muon_ad_core.bench.camera_clocks import HOST_EPOCH_NS, Integers, Simulation, SimulationConfig
from muon_ad_core.bench.sync_peers import GreedyPairing, LibrealsenseFit
from muon_ad_core.timing.clock import DeviceClock, Stamp
from muon_ad_core.timing.estimators import ClockEstimator, TransportDelay
from muon_ad_core.timing.pairing import MatchedSet, PairingEngine, StreamCounts
from muon_ad_core.timing.ticks import TickUnwrapper

DELAY_TOLERANCE_NS = 500_000
MS = 1_000_000  # nanoseconds


@dataclass(frozen=True)
class Pairing:
    """The pairs a way of pairing made."""

    pairs: Integers
    """Numbers of the USB and the CSI frame, (n, 2)."""
    counts: dict[str, StreamCounts]
    """By stream; empty where none are kept."""


def translate(
    simulation: Simulation, config: SimulationConfig, make: Callable[[TransportDelay], ClockEstimator]
) -> tuple[list[Stamp], int]:
    """Stamps of the USB frames through `DeviceClock`, and how often it learnt anew."""
    delay = TransportDelay(round(config.assumed_usb_delay_ms * MS), DELAY_TOLERANCE_NS)
    clock = DeviceClock(make(delay), TickUnwrapper(), delay)
    stamps = []
    for kind, number in _frames_and_queries(simulation):
        if kind == "query":
            queries = simulation.queries
            sent_ns, received_ns = int(queries.sent_ns[number]), int(queries.received_ns[number])
            clock.observe_query(sent_ns, int(queries.ticks[number]), received_ns)
        else:
            stamps.append(clock.stamp(int(simulation.usb.stamp[number]), int(simulation.usb.arrival_ns[number])))
    return stamps, clock.relearnt


def translate_by_fit(simulation: Simulation) -> Integers:
    """Stamps of the USB frames as librealsense gives them; its device object is new after the camera's restart."""
    fit, restarted = LibrealsenseFit(), False
    stamps = []
    for kind, number in _frames_and_queries(simulation):
        if kind == "query":
            queries = simulation.queries
            if not restarted and queries.sent_ns[number] > simulation.reset_ns:
                fit, restarted = LibrealsenseFit(), True
            sent, received = _to_ms(queries.sent_ns[number]), _to_ms(queries.received_ns[number])
            fit.observe_query(sent, int(queries.ticks[number]) * 1e-3, received)
        else:
            host_ms = fit.host_time(int(simulation.usb.stamp[number]) * 1e-3)
            arrival_ns = int(simulation.usb.arrival_ns[number])
            stamps.append(arrival_ns if host_ms is None else HOST_EPOCH_NS + round(host_ms * MS))
    return np.array(stamps)


def pair(simulation: Simulation, usb_ns: Integers, csi_ns: Integers, config: SimulationConfig) -> Pairing:
    """Pairs by `PairingEngine`, from stamps of both streams."""
    pairs: list[tuple[int, ...]] = []

    def keep(matched: MatchedSet[int]) -> None:
        pairs.append(matched.items)

    engine = PairingEngine(("usb", "csi"), config.period_ns, keep)
    for stream, number in _frames_of_both(simulation):
        engine.add(("usb", "csi")[stream], int((usb_ns, csi_ns)[stream][number]), number)
    return Pairing(np.array(pairs).reshape(-1, 2), engine.counts())


def pair_greedily(simulation: Simulation, usb_ns: Integers, csi_ns: Integers, slop_ns: int) -> Pairing:
    """Pairs by the greedy policy."""
    greedy = GreedyPairing(slop_ns)
    for stream, number in _frames_of_both(simulation):
        greedy.add(stream, int((usb_ns, csi_ns)[stream][number]), number)
    return Pairing(np.array(greedy.pairs).reshape(-1, 2), {})


def _frames_and_queries(simulation: Simulation) -> Iterator[tuple[str, int]]:
    """USB frames and answers of its clock, by their number, as they come."""
    times = np.concatenate([simulation.usb.arrival_ns, simulation.queries.received_ns])
    frames = simulation.usb.arrival_ns.size
    for index in np.argsort(times, kind="stable").tolist():
        yield ("frame", index) if index < frames else ("query", index - frames)


def _frames_of_both(simulation: Simulation) -> Iterator[tuple[int, int]]:
    """Stream (0 USB, 1 CSI) and number of the frames as they come."""
    times = np.concatenate([simulation.usb.arrival_ns, simulation.csi.arrival_ns])
    frames = simulation.usb.arrival_ns.size
    for index in np.argsort(times, kind="stable").tolist():
        yield (0, index) if index < frames else (1, index - frames)


def _to_ms(host_ns: np.int64) -> float:
    return float(host_ns - HOST_EPOCH_NS) / MS
