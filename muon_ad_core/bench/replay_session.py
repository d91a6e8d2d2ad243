# SPDX-License-Identifier: Apache-2.0
"""A running graph with a player before it and a monitor behind it: one run after the other, faults where asked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from muon_ad_core.bench.helper_process import HelperProcess, Message
from muon_ad_core.bench.power import PowerMeter
from muon_ad_core.bench.processes import ProcessMonitor
from muon_ad_core.bench.replay_figures import RunRecord, Sent, Timed
from muon_ad_core.bench.replay_schedule import LIVE
from muon_ad_core.bench.witness import Stalls, Witness
from muon_ad_core.errors import UserError
from muon_ad_ros.bag_topics import COLOR_IMAGE
from muon_ad_ros.bringup import NodeSpec, joint_task, parameter_file
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import Starter, StartOptions

NAMESPACE = "replay"
GRAPHS = ("style", "joint", "running")
OUTPUT = "stylized/image_raw"
WORKER, DETECTOR = "style_transfer", "detector"
PATIENCE = 90.0
SETTLE_S = 0.5  # for the last results to arrive
STATUS_S = 1.3  # until every worker has told its counters once more
SAMPLE_S = 0.5


@dataclass(frozen=True)
class Graph:
    """Which nodes are measured: "style", "joint" (both started here), or "running" (somebody else's)."""

    kind: str = "joint"
    namespace: str = NAMESPACE
    output: str = OUTPUT

    def specs(self) -> list[NodeSpec]:
        """The nodes to start."""
        nodes = [] if self.kind == "running" else joint_task(source="none")
        return [node for node in nodes if self.kind == "joint" or node.name != DETECTOR]

    def topic(self, name: str) -> str:
        """Full name of a topic of the graph."""
        namespace = self.namespace.strip("/")
        return name if name.startswith("/") else f"/{namespace}/{name}" if namespace else f"/{name}"


@dataclass(frozen=True)
class Fault:
    """A disturbance on purpose, in the middle of the measured time."""

    withhold: int = 0  # frames the player makes but does not publish
    stop_node_ms: float = 0.0  # the worker's process is stopped so long
    stop_machine_ms: float = 0.0  # so long every process of the benchmark is stopped, as by a host that takes the CPU


@dataclass(frozen=True)
class RunPlan:
    """What one run plays."""

    mode: str
    rate: float
    seconds: float
    warm_up: float
    fault: Fault = Fault()


@dataclass
class Observed:
    """One run as it was seen."""

    record: RunRecord
    counters: dict[str, dict[str, int]]  # by worker: frames in and out, and drops by cause, warm-up included
    processes: dict[str, dict[str, float | None]]
    machine: dict[str, float]
    power: dict[str, float] = field(default_factory=dict)


class Session:
    """Starts player, monitor, witness and graph; use it as a context manager."""

    def __init__(self, graph: Graph, bag: Path | None, buffer_bytes: int, log: TextIO) -> None:
        """`bag` None: a source that runs already is measured (mode live)."""
        self._graph, self._bag, self._buffer_bytes, self._log = graph, bag, buffer_bytes, log
        self._stack = ExitStack()
        self._witness = Witness()
        self.stalls = Stalls("not run", 0.0)
        self.player_facts: dict[str, Any] = {}

    def __enter__(self) -> Session:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.stalls = self._witness.stalls

    def _start(self) -> None:
        environment = child_environment()
        self._stack.enter_context(self._witness)
        self._monitor = self._stack.enter_context(HelperProcess("muon_ad_core.bench.replay_monitor", environment))
        self._player = None
        if self._bag is not None:
            self._player = self._stack.enter_context(HelperProcess("muon_ad_core.bench.replay_player", environment))
        options = StartOptions(self._graph.namespace, parameter_file("joint_task"))
        specs = self._graph.specs()
        self._starter = Starter(specs, options, environment, self._log) if specs else None
        if self._starter is not None:
            self._stack.callback(self._starter.stop)
            self._starter.start()
        workers = [self._graph.topic(name) for name in (WORKER, DETECTOR)]
        sides = {"input": self._graph.topic(COLOR_IMAGE), "output": self._graph.topic(self._graph.output)}
        self._ask(self._monitor, {"what": "watch", "workers": workers, **sides})
        if self._player is not None:
            namespace = self._graph.topic("x")[:-2]
            load = {"bag": str(self._bag), "most_bytes": self._buffer_bytes, "namespace": namespace}
            self.player_facts = self._ask(self._player, {"what": "load", **load})
        self._await_graph()

    def run(self, plan: RunPlan) -> Observed:
        """Play for the warm-up and the measured time; returns what was seen in the latter."""
        before = self._collect_counters()
        sampler, power = ProcessMonitor(), PowerMeter()
        began, fault_at = time.monotonic(), plan.warm_up + plan.seconds / 2
        measured_from_ns, next_sample, disturbed = time.time_ns() + round(plan.warm_up * 1e9), began, False
        power.start()

        def meanwhile() -> None:
            nonlocal next_sample, disturbed
            self._look_after_nodes()
            if time.monotonic() >= next_sample:
                sampler.sample(self._pids())
                next_sample += SAMPLE_S
            if not disturbed and time.monotonic() - began >= fault_at:
                disturbed = True
                self._disturb(plan.fault)

        sent = self._play(plan, meanwhile)
        self._wait(SETTLE_S, meanwhile)
        window = (measured_from_ns, time.time_ns())
        used, machine, watts = sampler.use(*window), sampler.machine_use(*window), power.read()
        self._wait(STATUS_S, self._look_after_nodes)
        rows = self._ask(self._monitor, {"what": "collect"})
        return Observed(
            self._record(plan, sent, rows),
            _growth(before, _counters(rows["statuses"])),
            {name: {"rss_mb": use.rss_mb, "cpu_percent": use.cpu_percent} for name, use in used.items()},
            machine,
            watts,
        )

    # Playing

    def _play(self, plan: RunPlan, meanwhile: Any) -> list[list[Any]]:
        seconds = plan.warm_up + plan.seconds
        if self._player is None:
            self._wait(seconds, meanwhile)
            return []
        middle = round((plan.warm_up + plan.seconds / 2) * plan.rate)
        withhold = [middle + 5 * number for number in range(plan.fault.withhold)]
        play = {"what": "play", "mode": plan.mode, "rate": plan.rate, "seconds": seconds, "withhold": withhold}
        return self._ask(self._player, play, seconds + PATIENCE, meanwhile)["sent"]

    def _record(self, plan: RunPlan, sent: list[list[Any]], rows: Mapping[str, Any]) -> RunRecord:
        """The rows of the measured time, keyed by frame."""
        seen = {(stamp, frame_id): at for stamp, frame_id, at in rows["input"]}
        frames = [Sent((stamp, frame_id), due, at) for stamp, frame_id, due, at in sent]
        if plan.mode == LIVE:  # of a source that runs by itself, the monitor's reception is the sending
            frames = [Sent(key, at, at) for key, at in sorted(seen.items())]
        begin_ns = frames[0].due_ns + round(plan.warm_up * 1e9) if frames else 0
        worker = self._graph.topic(WORKER)
        return RunRecord(
            WORKER,
            [frame for frame in frames if frame.due_ns >= begin_ns],
            seen,
            {(stamp, frame_id): at for stamp, frame_id, at in rows["output"]},
            {
                (stamp, frame_id): Timed(total, stages)
                for name, stamp, frame_id, total, stages in rows["timings"]
                if name == worker
            },
        )

    # The processes

    def _await_graph(self) -> None:
        """Wait until the graph is connected on both sides and its workers are active."""
        deadline = time.monotonic() + PATIENCE
        states: dict[str, str] = {}
        workers = {self._graph.topic(spec.name) for spec in self._graph.specs() if spec.name in (WORKER, DETECTOR)}
        while time.monotonic() < deadline:
            for name, _, state, *_ in self._ask(self._monitor, {"what": "collect"})["statuses"]:
                states[name] = state
            active = all(states.get(name) == "active" for name in workers)
            result = self._ask(self._monitor, {"what": "publishers"})["count"] > 0
            listeners = self._ask(self._player, {"what": "subscribers"})["count"] if self._player is not None else 2
            if active and result and listeners >= max(2, len(workers) + 1):  # the monitor is one of them
                return
            self._wait(0.25, self._look_after_nodes)
        raise UserError(
            f"no running graph takes {self._graph.topic(COLOR_IMAGE)} and publishes "
            f"{self._graph.topic(self._graph.output)}: start it first, or see its messages"
        )

    def _collect_counters(self) -> dict[str, dict[str, int]]:
        """The workers' counters now, between two runs; forgets the rows of the time before."""
        self._ask(self._monitor, {"what": "collect"})
        self._wait(STATUS_S, self._look_after_nodes)
        return _counters(self._ask(self._monitor, {"what": "collect"})["statuses"])

    def _disturb(self, fault: Fault) -> None:
        node = self._pids().get(WORKER)
        if fault.stop_node_ms and node is not None:
            _stop_for([node], fault.stop_node_ms)
        if fault.stop_machine_ms:
            helpers = [self._monitor.pid, self._witness.pid, *([self._player.pid] if self._player else [])]
            _stop_for([*helpers, *(pid for pid in self._pids().values() if pid is not None)], fault.stop_machine_ms)

    def _pids(self) -> dict[str, int | None]:
        return {name: node.pid for name, node in self._starter.nodes.items()} if self._starter else {}

    def _look_after_nodes(self) -> None:
        if self._starter is not None:
            self._starter.step(timeout=0.0)
            if self._starter.exit_code:
                raise UserError("a node of the graph could not start: see its message above")

    def _wait(self, seconds: float, meanwhile: Any) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            meanwhile()
            time.sleep(0.02)

    def _ask(
        self, helper: HelperProcess, request: Message, patience: float = PATIENCE, meanwhile: Any = None
    ) -> Message:
        return helper.ask(request, patience, meanwhile or self._look_after_nodes)


def _stop_for(pids: Sequence[int], milliseconds: float) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(milliseconds / 1e3)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def _counters(statuses: Sequence[Sequence[Any]]) -> dict[str, dict[str, int]]:
    """Latest counters of each worker by its bare name."""
    latest = {name.rsplit("/", 1)[-1]: (into, out, drops) for name, _, _, into, out, drops in statuses}
    return {name: {"frames_in": into, "frames_out": out, **drops} for name, (into, out, drops) in latest.items()}


def _growth(before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> Any:
    return {
        name: {counter: count - before.get(name, {}).get(counter, 0) for counter, count in counters.items()}
        for name, counters in after.items()
    }
