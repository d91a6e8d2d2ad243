# SPDX-License-Identifier: Apache-2.0
"""A worker as the scheduler knows it: its latest status, what it was told, and whether it hangs."""

from __future__ import annotations

import time
from collections.abc import Mapping

from muon_ad_msgs.msg import WorkerStatus
from rclpy.node import Node

from muon_ad_core.realtime.process_state import read_process_state, runs_node, seconds_waited
from muon_ad_core.realtime.watchdog import Watchdog

from .parameters import Value
from .remote_parameters import RemoteParameters

# Causes of drops that say nothing about the working thread: they are counted where frames come in.
INTAKE_CAUSES = ("superseded", "max_rate", "lost_in_transport", "out_of_order", "clock_jumped_back", "deactivated")


SETTLED = ("unconfigured", "inactive", "active", "finalized")  # states that last


class WatchedWorker:
    """One worker; its process may change when it is started again."""

    def __init__(self, node: Node, status: WorkerStatus, silence: float) -> None:
        self.status = status
        self.heard_at = time.monotonic()
        self.remote = RemoteParameters(node, status.name)
        self.silent = False
        self.ended_pid = 0  # process that was ended because it hung
        self.watchdog = Watchdog(silence, self.heard_at)
        self._told: dict[str, Value] = {}

    def hear(self, status: WorkerStatus) -> None:
        """Take in a status."""
        now = time.monotonic()
        if status.pid != self.status.pid:  # a new process knows nothing yet
            self._told = {}
            self.watchdog = Watchdog(self.watchdog.silence, now)
        self.status, self.heard_at = status, now
        drops = dict(zip(status.drop_causes, status.drop_counts))
        worked_on = sum(count for cause, count in drops.items() if cause not in INTAKE_CAUSES)
        changing = status.state not in SETTLED
        self.watchdog.heard(status.frames_out + worked_on, drops.get("superseded", 0), changing)

    def hangs(self) -> str:
        """Look at the worker's process: why it counts as hanging; empty when it does not, or runs elsewhere."""
        pid = self.status.pid
        process = read_process_state(pid)
        if self.ended_pid == pid or process is None or not runs_node(pid, self.status.name.rsplit("/", 1)[-1]):
            return ""
        return self.watchdog.verdict(process, time.monotonic(), seconds_waited())

    def news(self, settings: Mapping[str, Value]) -> dict[str, Value]:
        """Those of `settings` this process was not told yet; they count as told from now on.

        The scheduling parameters go together or not at all.
        """
        news = {name: value for name, value in settings.items() if self._told.get(name) != value}
        if any(name.startswith("scheduling.") for name in news):
            news.update({name: value for name, value in settings.items() if name.startswith("scheduling.")})
        self._told.update(news)
        return news
