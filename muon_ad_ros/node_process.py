# SPDX-License-Identifier: Apache-2.0
"""A node of a starter's table, the process that runs it at present, and when it is started again after a crash."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from .child_process import ChildProcess

PAUSES = (0.0, 0.25, 1.0, 4.0, 8.0)  # seconds before each restart, one after the other, of a node that crashes soon
HEALTHY = 10.0  # seconds; a crash after a longer life is a first one


class NodeProcess:
    """One node of the table and the process that runs it at present."""

    def __init__(self, name: str, command: Sequence[str], spawn: Callable[[Sequence[str]], ChildProcess]) -> None:
        """`spawn` starts a process that runs a command."""
        self.name = name
        self.restarts = 0
        self.restart_at: float | None = None  # monotonic, seconds; None when no restart is due
        self.finished = False  # ended by itself, without an error
        self.given_up = ""  # why it is not started again
        self.process: ChildProcess | None = None
        self._command = command
        self._spawn = spawn
        self._started_at = 0.0
        self._crashes_in_a_row = 0

    def start(self, spare: ChildProcess | None = None) -> ChildProcess:
        """Start the node, in the process `spare` if there is one (see spare.py); returns its process."""
        self.restart_at = None
        self._started_at = time.monotonic()
        if spare is not None and spare.tell(json.dumps(list(self._command))):
            self.process = spare
        else:
            self.process = self._spawn(self._command)
        return self.process

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    @property
    def age(self) -> float:
        """Seconds since the latest start."""
        return time.monotonic() - self._started_at

    @property
    def pid(self) -> int | None:
        """Process id; None while nothing runs."""
        return self.process.pid if self.process is not None and self.running else None

    @property
    def exit_code(self) -> int | None:
        """How the latest process ended, negative for a signal; None while it runs or before the first start."""
        return self.process.exit_code if self.process is not None else None

    @property
    def ended(self) -> bool:
        """Whether the process has ended and nothing was decided about it yet."""
        return self.exit_code is not None and not self.settled and self.restart_at is None

    @property
    def settled(self) -> bool:
        """Whether it will not be started again."""
        return self.finished or bool(self.given_up)

    def send(self, number: int) -> None:
        """Send a signal to the process, if one runs."""
        if self.process is not None:
            self.process.send(number)

    def plan_restart(self, respawn: bool) -> str:
        """Decide what follows a crash; returns it in words."""
        if self.age > HEALTHY:
            self._crashes_in_a_row = 0
        self._crashes_in_a_row += 1
        if not respawn:
            self.given_up = "it crashed, and restarts are off"
        elif self._crashes_in_a_row > len(PAUSES):
            self.given_up = f"it crashed {self._crashes_in_a_row} times in a row"
        if self.given_up:
            return "not starting it again"
        pause = PAUSES[self._crashes_in_a_row - 1]
        self.restarts += 1
        self.restart_at = time.monotonic() + pause
        return f"starting it again in {pause:g} s" if pause else "starting it again"
