# SPDX-License-Identifier: Apache-2.0
"""The joint task running under a benchmark: its processes, a probe among them, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from muon_ad_core.bench.helper_process import HelperProcess, Message
from muon_ad_core.bench.processes import ProcessMonitor
from muon_ad_core.errors import UserError
from muon_ad_ros.bringup import joint_task, parameter_file
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import Starter, StartOptions

PATIENCE = 90.0  # seconds for the nodes to begin
SAMPLE_S = 0.5  # between looks at memory and processor time


class TaskSession:
    """Starts the joint task; use it as a context manager. All of it runs in one thread."""

    def __init__(self, source: str, overrides: Mapping[str, Mapping[str, str]], log: Path) -> None:
        """`overrides`: node -> parameter -> YAML text; `log`: file for the nodes' output."""
        self.monitor = ProcessMonitor()
        self._stack = ExitStack()
        self._source = source
        self._options = StartOptions(parameter_file=parameter_file("joint_task"), overrides=overrides, spare=True)
        self._log = log
        self._next_sample = 0.0

    def __enter__(self) -> TaskSession:
        with ExitStack() as stack:
            environment = child_environment()
            output = stack.enter_context(self._log.open("w", encoding="utf-8"))
            self.starter = Starter(joint_task(self._source), self._options, environment, output)
            stack.callback(self.starter.stop)
            self.starter.start()
            self._probe = stack.enter_context(HelperProcess("muon_ad_core.bench.task_probe", environment))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, action: str, **request: Any) -> Message:
        """Have the probe do something; raises UserError when it, or the node it asks, does not answer."""
        return self._probe.ask({"do": action, **request}, PATIENCE, self.step)

    def step(self, timeout: float = 0.0) -> None:
        """Look after the nodes for up to `timeout` seconds. Raises UserError when they cannot be kept alive."""
        self.starter.step(timeout)
        if self.starter.exit_code:
            raise UserError(f"the joint task does not run: see {self._log}")
        if time.monotonic() >= self._next_sample:
            self._next_sample = time.monotonic() + SAMPLE_S
            self.monitor.sample(self.pids())

    def pids(self) -> dict[str, int | None]:
        """Process of each node."""
        return {name: node.pid for name, node in self.starter.nodes.items()}

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0.0:
            self.step(min(left, 0.05))

    def wait(self, condition: Callable[[Message], bool], what: str, patience: float = PATIENCE) -> None:
        """Until `condition` holds for the probe's look; raises UserError naming `what` did not come true."""
        deadline = time.monotonic() + patience
        while not condition(self.ask("look")):
            if time.monotonic() > deadline:
                raise UserError(f"{what} did not come true within {patience:g} s: see {self._log}")
            self.pause(0.1)

    def wait_until_delivering(self) -> None:
        """Until style and detection publish results."""
        self.wait(_all_deliver, "results of style and detection")


def _all_deliver(look: Message) -> bool:
    workers = look["workers"]
    return all(name in workers and workers[name]["frames_out"] > 0 for name in ("style_transfer", "detector"))
