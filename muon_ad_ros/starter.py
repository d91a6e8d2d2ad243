# SPDX-License-Identifier: Apache-2.0
"""Starts the nodes of a table where `ros2 launch` is not installed: one process a node, logs merged.

A node that crashes is named and started again: at once, but after a growing pause when it crashes again and again. A
spare process that has done its imports already makes that quick. A node that ends with the exit code for a user's
mistake ends the whole run, because starting it again would not help.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from muon_ad_core.errors import ParameterError

from .bringup import PACKAGE, NodeSpec
from .child_process import ChildProcess
from .node_process import NodeProcess
from .participants import Participants

EXIT_USER_ERROR = 2
SPARE = "spare"
SPARE_AFTER = 2.0  # seconds after the latest start of a node a spare process is made ready, so as not to slow that down
STOP_SIGNALS = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))  # with seconds to obey
COLOURS = ("\033[36m", "\033[35m", "\033[32m", "\033[33m", "\033[34m")
PLAIN = "\033[0m"


@dataclass(frozen=True)
class StartOptions:
    """What applies to all nodes of a run."""

    namespace: str = ""
    parameter_file: Path | None = None
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # node -> parameter -> YAML text
    log_level: str = "info"
    respawn: bool = True
    spare: bool = False  # keep a process ready to take the place of one that ends
    use_sim_time: bool = False


class Starter:
    """Runs the nodes of a table until told to stop.

    Use `run` from a command, or `start`, `step` (repeatedly) and `stop` from a program, all in one thread.
    """

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        options: StartOptions,
        environment: Mapping[str, str],
        output: TextIO = sys.stdout,
        command_of: Callable[[NodeSpec, StartOptions], list[str]] | None = None,
    ) -> None:
        """`environment` is the nodes' own; `command_of` makes their command lines (default: `node_command`).

        Raises ParameterError when an override names no node of the table.
        """
        names = [spec.name for spec in specs]
        for unknown in sorted(set(options.overrides) - set(names)):
            raise ParameterError(f"there is no node '{unknown}' to set parameters of: use one of {', '.join(names)}")
        self._respawn = options.respawn
        self._spare_command = spare_command(specs) if options.spare and options.respawn else []
        self._spare: ChildProcess | None = None
        self._output = output
        self._colours = dict(zip(names, COLOURS)) if output.isatty() and "NO_COLOR" not in os.environ else {}
        self._width = max(map(len, names))
        self._participants = Participants(_log_environment(environment, colour=bool(self._colours)))
        command_of = command_of or node_command
        self.nodes = {spec.name: NodeProcess(spec.name, command_of(spec, options), self._spawn) for spec in specs}
        self._selector = selectors.DefaultSelector()
        self._stop_asked = False

    def start(self) -> None:
        """Start all nodes."""
        for node in self.nodes.values():
            self._start(node)

    def step(self, timeout: float) -> None:
        """Pass on output for up to `timeout` seconds, and look after nodes that have ended."""
        self._pass_on_output(timeout)
        for node in self.nodes.values():
            if node.ended:
                self._attend(node)
            if node.restart_at is not None and time.monotonic() >= node.restart_at:
                self._start(node)
        self._keep_spare()

    def stop(self) -> None:
        """End all nodes: politely first, by force if need be."""
        for number, seconds in STOP_SIGNALS:
            running = [node for node in self.nodes.values() if node.running]
            if running and number != signal.SIGINT:
                names = ", ".join(node.name for node in running)
                self.say(f"{names} did not stop: sending {signal.Signals(number).name}")
            for node in running:
                node.send(number)
            deadline = time.monotonic() + seconds
            while any(node.running for node in running) and time.monotonic() < deadline:
                self._pass_on_output(timeout=0.05)
        for node in self.nodes.values():
            if node.process is not None:
                self._release(node.process)
        self._end_spare()
        self._participants.close()

    def run(self, duration: float | None = None) -> int:
        """Start the nodes and look after them until Ctrl-C, SIGTERM or `duration` seconds; then stop them.

        Returns the exit code: 0; 1 when a node could not be kept alive; 2 after a user's mistake.
        """
        began = time.monotonic()
        previous = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.start()
            while self.alive and not self._stop_asked and (duration is None or time.monotonic() - began < duration):
                self.step(timeout=0.2)
        finally:
            self.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)
        self._summarize(time.monotonic() - began)
        return self.exit_code

    @property
    def alive(self) -> bool:
        """Whether any node runs or is about to."""
        return any(node.running or node.restart_at is not None or node.ended for node in self.nodes.values())

    @property
    def spare_pid(self) -> int | None:
        """Process that waits to take the place of one that ends; None while there is none."""
        return self._spare.pid if self._spare is not None else None

    @property
    def exit_code(self) -> int:
        """What `run` returns, as far as it is known by now."""
        given_up = [node for node in self.nodes.values() if node.given_up]
        if any(node.exit_code == EXIT_USER_ERROR for node in given_up):
            return EXIT_USER_ERROR
        return 1 if given_up else 0

    def say(self, sentence: str) -> None:
        """Print a line of the starter's own."""
        self._output.write(f"{'muon-ad':>{self._width}} | {sentence}\n")
        self._output.flush()

    def _spawn(self, command: Sequence[str], listens: bool = False) -> ChildProcess:
        process = ChildProcess(command, self._participants.next_environment(), listens)
        self._participants.started(process)
        return process

    def _start(self, node: NodeProcess) -> None:
        spare, self._spare = self._spare, None
        process = node.start(spare)
        if spare is not None:
            self._selector.unregister(spare.output)
        if spare is not None and process is not spare:  # it had ended
            self._participants.ended(spare)
            spare.close_output()
        self._selector.register(process.output, selectors.EVENT_READ, (node.name, process))

    def _keep_spare(self) -> None:
        """See to it that a spare process waits while all nodes run undisturbed."""
        if self._spare is not None and not self._spare.running:
            self.say(f"the {SPARE} process ended with exit code {self._spare.exit_code}: going on without one")
            self._end_spare()
            self._spare_command = []
        wanted = self._spare_command and self._spare is None
        if wanted and all(node.settled or (node.running and node.age > SPARE_AFTER) for node in self.nodes.values()):
            self._spare = self._spawn(self._spare_command, listens=True)
            self._selector.register(self._spare.output, selectors.EVENT_READ, (SPARE, self._spare))

    def _end_spare(self) -> None:
        if self._spare is not None:
            self._spare.kill()  # it holds nothing
            self._release(self._spare)
            self._spare = None

    def _attend(self, node: NodeProcess) -> None:
        """Decide what follows the end of a process that nobody asked to end."""
        assert node.process is not None
        self._release(node.process)
        code = node.exit_code
        assert code is not None
        if code == 0:
            node.finished = True
            self.say(f"{node.name} has finished")
        elif code == EXIT_USER_ERROR:
            node.given_up = "see its message above"
            self._stop_asked = True
        else:
            cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"crashed with exit code {code}"
            self.say(f"{node.name} {cause}: {node.plan_restart(self._respawn)}")

    def _release(self, process: ChildProcess) -> None:
        """Print the rest of an ended process's output and close it."""
        for key in [key for key in self._selector.get_map().values() if key.data[1] is process]:
            self._print_lines(*key.data)
            self._selector.unregister(key.fileobj)
            self._participants.ended(process)
            process.close_output()

    def _pass_on_output(self, timeout: float) -> None:
        ready = self._selector.select(timeout)
        for key, _ in ready:
            self._print_lines(*key.data)
        if ready and all(not key.data[1].running for key, _ in ready):
            time.sleep(min(timeout, 0.02))  # an ended process's output is ready for ever

    def _print_lines(self, name: str, process: ChildProcess) -> None:
        label = f"{name:>{self._width}} |"
        if name in self._colours:
            label = f"{self._colours[name]}{label}{PLAIN}"
        for line in process.read_lines():
            self._output.write(f"{label} {line}\n")
        self._output.flush()

    def _ask_to_stop(self, number: int, frame: Any) -> None:
        self._stop_asked = True

    def _summarize(self, seconds: float) -> None:
        restarts = ", ".join(f"{name} {node.restarts}" for name, node in self.nodes.items() if node.restarts)
        self.say(f"ran {seconds:.1f} s: {', '.join(self.nodes)}; restarts: {restarts or 'none'}")
        for name, node in self.nodes.items():
            if node.given_up:
                self.say(f"{name} could not be kept alive: {node.given_up}")


def node_command(spec: NodeSpec, options: StartOptions) -> list[str]:
    """The command line that runs `spec`."""
    command = [sys.executable, "-m", f"{PACKAGE}.run", f"{PACKAGE}.{spec.executable}"]
    command += ["--ros-args", "-r", f"__node:={spec.name}"]
    if options.namespace:
        command += ["-r", f"__ns:=/{options.namespace.strip('/')}"]
    for topic, used in spec.remappings.items():
        command += ["-r", f"{topic}:={used}"]
    if options.parameter_file is not None:
        command += ["--params-file", str(options.parameter_file)]
    if options.use_sim_time:
        command += ["-p", "use_sim_time:=true"]
    for name, value in spec.parameters.items():
        command += ["-p", f"{name}:={json.dumps(value)}"]  # quoted, so that the style "1" stays a string
    for name, text in options.overrides.get(spec.name, {}).items():
        command += ["-p", f"{name}:={text}"]
    return [*command, "--log-level", options.log_level]


def spare_command(specs: Sequence[NodeSpec]) -> list[str]:
    """The command line of a spare process that can become any of `specs` (see spare.py)."""
    return [sys.executable, "-m", f"{PACKAGE}.spare", *sorted({spec.executable for spec in specs})]


def parse_override(text: str) -> tuple[str, str, str]:
    """Split "node.parameter=value"; the parameter's name may hold dots itself.

    Raises ParameterError when the text has another form.
    """
    target, equals, value = text.partition("=")
    node, dot, parameter = target.partition(".")
    if not (node and dot and parameter and equals):
        raise ParameterError(f"'{text}' is not of the form node.parameter=value, such as style_transfer.strength=0.5")
    return node, parameter, value


def _log_environment(environment: Mapping[str, str], colour: bool) -> dict[str, str]:
    """`environment` with logs that come line by line and do not repeat the node's name."""
    added = {"PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "1" if colour else "0"}
    merged = {**environment, **added}
    merged.setdefault("RCUTILS_CONSOLE_OUTPUT_FORMAT", "[{severity}] {message}")
    return merged
