# SPDX-License-Identifier: Apache-2.0
"""Run the joint task with a recorder and a style tour beside it, watched by a witness and a process monitor."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from muon_ad_core.bench.processes import ProcessMonitor, has_torch_loaded
from muon_ad_core.bench.witness import Stalls, Witness
from muon_ad_core.errors import UserError
from muon_ad_ros.bringup import NodeSpec, joint_task, parameter_file
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import Starter, StartOptions

TOUR = "style_tour"
SAMPLE_PERIOD = 1.0  # seconds
MOST_CRASHES = 2  # of one node, then it is not worth waiting
ECHOED = (f"{TOUR} | [INFO]", "[WARN]", "crashed", "was killed")


@dataclass(frozen=True)
class Observation:
    """What was seen of a run from outside its nodes."""

    stalls: Stalls
    monitor: ProcessMonitor
    torch_nodes: list[str]
    restarts: dict[str, int]  # by node, of those that crashed


class DemoLog(io.TextIOWrapper):
    """Where the nodes' output goes: all of it into a file, to `say` what a spectator should see, errors kept."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        super().__init__(path.open("wb"), encoding="utf-8")
        self.path = path
        self.error_lines: list[str] = []
        self._say = say

    def write(self, text: str) -> int:
        if "[ERROR]" in text:
            self.error_lines.append(text.split("[ERROR]", 1)[1].strip())
        if any(mark in text for mark in ECHOED):
            self._say(text.strip())
        return super().write(text)


def record_run(source: str, style: str, seconds: float, recording: Path, log: DemoLog) -> Observation:
    """Run the joint task until the tour of `seconds` is over; leaves the recording.

    Raises:
        UserError: a node could not start, or the joint task delivered nothing.
    """
    tour = {"seconds": seconds, **({"styles": [style]} if style else {})}
    specs = [
        NodeSpec("recorder", "recorder", {"output": str(recording.absolute())}),
        *joint_task(source, style),
        NodeSpec(TOUR, TOUR, tour),
    ]
    options = StartOptions(parameter_file=parameter_file("joint_task"))
    starter = Starter(specs, options, child_environment(), log)
    monitor = ProcessMonitor()
    with Witness() as witness:
        try:
            starter.start()
            finished = _watch(starter, monitor)
            pids = {name: node.pid for name, node in starter.nodes.items()}
            torch_nodes = [name for name, pid in pids.items() if pid and has_torch_loaded(pid)]
        finally:
            starter.stop()
    if not finished:
        crashed = [f"{name} crashed again and again" for name, node in starter.nodes.items() if node.restarts]
        cause = [*log.error_lines[-1:], *crashed, "a node ended before its time"][0]
        raise UserError(f"the joint task did not run: {cause} (all output is in {log.path})")
    restarts = {name: node.restarts for name, node in starter.nodes.items() if node.restarts}
    return Observation(witness.stalls, monitor, torch_nodes, restarts)


def _watch(starter: Starter, monitor: ProcessMonitor) -> bool:
    """Look after the nodes and sample them until the tour is over (true) or a node cannot be kept alive (false)."""
    next_sample = time.monotonic()
    while not starter.exit_code and all(node.restarts <= MOST_CRASHES for node in starter.nodes.values()):
        if starter.nodes[TOUR].exit_code == 0:
            return True
        starter.step(timeout=0.1)
        if time.monotonic() >= next_sample:
            monitor.sample({name: node.pid for name, node in starter.nodes.items()})
            next_sample += SAMPLE_PERIOD
    return False
