# SPDX-License-Identifier: Apache-2.0
"""Node scheduler: gives style transfer the processor first, and reports what the workers were really granted.

It finds the workers by their status topics and sets what they may use through their own parameters: policies when one
appears (and again after a restart), detection's slots and rate and style's level of detail whenever they change. What a
user sets on a worker stays until the scheduler has something new to say. A worker that hangs is ended, to be started
again by whoever started it. All of it is gathered on scheduler/status and /diagnostics.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from muon_ad_msgs.msg import FrameTiming, SchedulerStatus, WorkerStatus
from rclpy.parameter import Parameter
from rclpy.task import Future

from . import qos
from .allowances import Allowances
from .diagnostics import diagnose
from .managed import ManagedNode, run_node
from .parameters import Value
from .scheduling import DEFAULT_POLICIES, SCHEDULER_PARAMETERS, policy_settings
from .watched_worker import WatchedWorker

STATUS_TYPE = "muon_ad_msgs/msg/WorkerStatus"
AFFINITY = "scheduling.affinity"
PERIOD = 1.0  # seconds between looks at the graph, and between reports
WATCH_PERIOD = 0.2  # seconds between looks at the workers' processes
SILENCE = 5.0  # seconds without a status after which a worker counts as gone
DECISIONS = 20  # how many of the latest decisions are published


class Scheduler(ManagedNode):
    """Sets the workers' policies and allowances through their own parameters and gathers their state."""

    def __init__(self) -> None:
        super().__init__("scheduler", SCHEDULER_PARAMETERS)
        self._workers: dict[str, WatchedWorker] = {}
        self._topics: set[str] = set()
        self._decisions: deque[str] = deque(maxlen=DECISIONS)
        self._allowances = Allowances(self.parameters.values)
        self._warned_of_refusal = False
        self._restarts = 0
        self._status_publisher = self.create_publisher(SchedulerStatus, "scheduler/status", qos.result_data())
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", qos.result_data())
        self._timer = self.create_timer(PERIOD, self._look_around, clock=self.steady_clock)
        self._watch_timer = self.create_timer(WATCH_PERIOD, self._watch, clock=self.steady_clock)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        self._allowances.configure(self.parameters.values)
        for worker in self._workers.values():
            worker.watchdog.silence = self.parameters["watchdog.silence"]
        self._ask_all()

    # Workers

    def _look_around(self) -> None:
        if self.state_label != "active":
            return
        self._find_workers()
        for worker in self._workers.values():
            self._notice_silence(worker)
        self._ask_all()
        self._publish()

    def _find_workers(self) -> None:
        """Subscribe to the status topics of workers in this node's namespace."""
        namespace = self.get_namespace().rstrip("/") + "/"
        for topic, types in self.get_topic_names_and_types():
            if STATUS_TYPE in types and topic.startswith(namespace) and topic not in self._topics:
                self._topics.add(topic)
                self.create_subscription(WorkerStatus, topic, self._hear, qos.result_data())

    def _hear(self, status: WorkerStatus) -> None:
        worker = self._workers.get(status.name)
        if worker is None:
            worker = WatchedWorker(self, status, self.parameters["watchdog.silence"])
            self._workers[status.name] = worker
            self._decide(f"{status.name} found ({status.role})")
            if status.role == "style":
                timing = f"{status.name}/timing"
                self.create_subscription(FrameTiming, timing, self._style_frame, qos.result_data())
        worker.hear(status)
        if worker.silent:
            worker.silent = False
            self._decide(f"{status.name} is back")
        self._warn_of_refusal(status)
        self._allowances.hear(status)

    def _notice_silence(self, worker: WatchedWorker) -> None:
        if not worker.silent and time.monotonic() - worker.heard_at > SILENCE:
            worker.silent = True
            self._decide(f"{worker.status.name} has been silent for {SILENCE:g} s")

    def _warn_of_refusal(self, status: WorkerStatus) -> None:
        """Without privilege everything runs; one warning for all workers names the remedy."""
        if status.policy_reason and not self._warned_of_refusal:
            self._warned_of_refusal = True
            self.get_logger().warning(
                f"frames may come late beside other load: {status.name}: {status.policy_reason} (docs/real-time.md)"
            )

    def _watch(self) -> None:
        if self.state_label == "active":
            for worker in self._workers.values():
                verdict = worker.hangs()
                if verdict:
                    self._end(worker, verdict)

    def _end(self, worker: WatchedWorker, verdict: str) -> None:
        """A hanging process cannot be helped from outside but by ending it; whoever started it starts it again."""
        pid = worker.ended_pid = worker.status.pid
        if not self.parameters["watchdog.restart"]:
            self._decide(f"{worker.status.name} hangs: {verdict}", severe=True)
            return
        self._decide(f"{worker.status.name} hangs: {verdict}; ending it to be started again", severe=True)
        self._restarts += 1
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            self._decide(f"{worker.status.name} could not be ended: {error.strerror}", severe=True)

    # Allowances

    def _style_frame(self, timing: FrameTiming) -> None:
        if not self.parameters["enabled"] or self.state_label != "active":
            return
        change = self._allowances.style_frame(timing.total_ms, timing.lost_before)
        if change:
            self._decide(change)
            self._ask_all()

    def _ask_all(self) -> None:
        if self.state_label == "active":
            for worker in self._workers.values():
                if not worker.silent and worker.remote.reachable():
                    self._ask(worker)

    def _ask(self, worker: WatchedWorker) -> None:
        """Tell a worker whatever it should be set to and was not told yet."""
        role = worker.status.role
        if role not in DEFAULT_POLICIES:
            return
        policy = policy_settings(role, self.parameters.values, self._allowances.style_is_real_time)
        news = worker.news({**policy, **self._allowances.settings(role)})
        if not news:
            return
        if "scheduling.policy" in news:
            self._decide(f"{worker.status.name} is asked to run {describe_policy(policy)}")
            # The type of an empty list must be told.
            news[AFFINITY] = Parameter(AFFINITY, Parameter.Type.INTEGER_ARRAY, news[AFFINITY])
        worker.remote.set(news).add_done_callback(partial(self._answered, worker.status.name))

    def _answered(self, name: str, future: Future) -> None:
        result = future.result().result
        if not result.successful:
            self._decide(f"{name} refused: {result.reason}")

    # Reports

    def _decide(self, sentence: str, severe: bool = False) -> None:
        self._decisions.append(sentence)
        if severe:
            self.get_logger().error(sentence)
        else:
            self.get_logger().info(sentence)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        workers = [worker.status for worker in self._workers.values() if not worker.silent]
        status = SchedulerStatus(workers=workers, decisions=list(self._decisions), restarts=self._restarts)
        status.header.stamp = stamp
        status.summary = "; ".join(map(summarize, workers)) or "no workers yet"
        self._allowances.describe(status)
        self._status_publisher.publish(status)
        diagnostics = DiagnosticArray(status=[diagnose(w.status, w.silent) for w in self._workers.values()])
        diagnostics.header.stamp = stamp
        self._diagnostics_publisher.publish(diagnostics)


def summarize(worker: WorkerStatus) -> str:
    """One worker in a few words."""
    policy = worker.policy_granted + (f" {worker.priority_granted}" if worker.priority_granted else "")
    return f"{worker.name} {policy} {worker.rate_out_hz:.1f} Hz p99 {worker.latency_p99_ms:.1f} ms"


def describe_policy(settings: dict[str, Value]) -> str:
    """The policy in settings as `policy_settings` makes them, in words."""
    policy, nice = settings["scheduling.policy"], settings["scheduling.nice"]
    if policy in ("FIFO", "RR"):
        return f"{policy} {settings['scheduling.priority']}"
    return f"{policy} nice +{nice}" if nice else str(policy)


def main() -> None:
    sys.exit(run_node(Scheduler))


if __name__ == "__main__":
    main()
