# SPDX-License-Identifier: Apache-2.0
"""Node style_tour: waits until the joint task runs, changes styles through live parameters, and ends.

The demo runs it beside the recorder. The recorder's parameter `measuring` is true while it tours, so that
what happened before (start-up, first frames) stays out of the figures.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, NoReturn

import rclpy.task
from muon_ad_msgs.msg import SchedulerStatus
from muon_ad_msgs.srv import ListStyles

from muon_ad_core.bench.tour import MEASURING, choose_styles, plan_tour
from muon_ad_core.errors import UserError

from . import qos
from .managed import ManagedNode, run_node
from .parameters import ParameterSpec, Value
from .remote_parameters import RemoteParameters

ROLES = ("style", "detection")
PERIOD = 0.1  # seconds between looks whether the tour is over
SERVICE_PATIENCE = 10.0  # seconds
ASKED = 3  # times within them: an answer was seen to stay away once, and asking again changes nothing
TRAIL = 2.0  # seconds for the last results, and a status report of every node, to reach the recorder
STYLE_NODE, RECORDER = "style_transfer", "recorder"

PARAMETERS = (
    ParameterSpec("styles", [], "Styles to show; empty: some of the engine's."),
    ParameterSpec("seconds", 20.0, "Length of the tour.", minimum=1.0, maximum=86_400.0),
    ParameterSpec("settle", 2.0, "Seconds to wait once every node delivers.", minimum=0.0, maximum=60.0),
    ParameterSpec("patience", 60.0, "Seconds to wait for the nodes in all.", minimum=1.0, maximum=3600.0),
)


class StyleTour(ManagedNode):
    """Runs the tour in a thread of its own and ends the process after it."""

    def __init__(self) -> None:
        super().__init__("style_tour", PARAMETERS)
        self._remotes = {name: RemoteParameters(self, name) for name in (STYLE_NODE, RECORDER)}
        self._list_styles = self.create_client(ListStyles, f"{STYLE_NODE}/list_styles")
        self.create_subscription(SchedulerStatus, "scheduler/status", self._hear, qos.result_data())
        self._all_deliver = threading.Event()
        self._missing = "a status from the scheduler"
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def activate(self) -> None:
        self._stopping.clear()
        tour = self._pool.submit(self._tour)
        self.create_timer(PERIOD, lambda: self._end(tour), clock=self.steady_clock)

    def deactivate(self) -> None:
        self._stopping.set()
        self._all_deliver.set()

    def _hear(self, status: SchedulerStatus) -> None:
        delivering = {worker.role for worker in status.workers if worker.state == "active" and worker.frames_out}
        self._missing = " and ".join(f"a result with role '{role}'" for role in ROLES if role not in delivering)
        if not self._missing:
            self._all_deliver.set()

    def _end(self, tour: Future[None]) -> None:
        """In the executor's thread: pass on how the tour ended, once it has."""
        if tour.done():
            tour.result()
            self.context.try_shutdown()

    def _tour(self) -> None:
        patience, seconds = self.parameters["patience"], self.parameters["seconds"]
        if not self._all_deliver.wait(patience):
            self._give_up(f"{self._missing} did not come within {patience:g} s")
        self._pause(self.parameters["settle"])
        styles = self.parameters["styles"] or choose_styles(self._ask_for_styles())
        self.get_logger().info(f"measuring for {seconds:g} s; showing {', '.join(styles)}")
        self._set(RECORDER, {MEASURING: True})
        began = time.monotonic()
        for step in plan_tour(styles, seconds):
            self._pause(began + step.at - time.monotonic())
            self._set(STYLE_NODE, step.parameters)
        self._pause(began + seconds - time.monotonic())
        self._set(RECORDER, {MEASURING: False})
        self._pause(TRAIL)

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(max(0.0, seconds)):
            raise CancelledError

    def _ask_for_styles(self) -> list[str]:
        if not self._list_styles.wait_for_service(SERVICE_PATIENCE):
            self._give_up(f"{STYLE_NODE} does not offer ~/list_styles")
        return self._answer(STYLE_NODE, lambda: self._list_styles.call_async(ListStyles.Request())).names

    def _set(self, node: str, values: Mapping[str, Value]) -> None:
        remote = self._remotes[node]
        if not remote.wait(SERVICE_PATIENCE):
            self._give_up(f"the parameters of {node} cannot be reached")
        result = self._answer(node, lambda: remote.set(values)).result
        if not result.successful:
            self.get_logger().warning(f"{node} refused {dict(values)}: {result.reason}")

    def _answer(self, node: str, ask: Callable[[], rclpy.task.Future]) -> Any:
        for _ in range(ASKED):
            answered = threading.Event()
            call = ask()
            call.add_done_callback(lambda _, answered=answered: answered.set())
            if answered.wait(SERVICE_PATIENCE / ASKED):
                return call.result()
            self.get_logger().warning(f"{node} has not answered for {SERVICE_PATIENCE / ASKED:.1f} s")
        self._give_up(f"{node} did not answer within {SERVICE_PATIENCE:g} s")

    def _give_up(self, why: str) -> NoReturn:
        sentence = f"the tour ends early: {why}; the nodes' logs tell more"
        self.get_logger().error(sentence)
        raise UserError(sentence)


def main() -> None:
    sys.exit(run_node(StyleTour))


if __name__ == "__main__":
    main()
