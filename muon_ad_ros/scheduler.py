# SPDX-License-Identifier: Apache-2.0
"""Node scheduler: gives style transfer the processor first, and reports what the workers were really granted.

It finds the workers by their status topics, sets each one's scheduling parameters when it appears (and again after a
restart), and publishes the gathered state on scheduler/status and /diagnostics. What a user sets on a worker later
stays: the scheduler asks once for each start of a worker.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from muon_ad_msgs.msg import SchedulerStatus, WorkerStatus
from rclpy.parameter import Parameter
from rclpy.task import Future

from muon_ad_core.realtime.policy import MAX_PRIORITY, MIN_PRIORITY, POLICIES

from . import qos
from .diagnostics import diagnose
from .managed import ManagedNode, run_node
from .parameters import ParameterSpec
from .remote_parameters import RemoteParameters

STATUS_TYPE = "muon_ad_msgs/msg/WorkerStatus"
PERIOD = 1.0  # seconds between looks at the graph, and between reports
SILENCE = 5.0  # seconds without a status after which a worker counts as gone
DECISIONS = 20  # how many of the latest decisions are published

# role -> default policy and priority. Style comes first. A camera of ours stands for hardware, which no load delays,
# but must not delay style. Detection takes what is left.
DEFAULT_POLICIES = {"style": ("FIFO", 50), "source": ("FIFO", 40), "detection": ("OTHER", 30)}


def policy_parameters(role: str, policy: str, priority: int) -> tuple[ParameterSpec, ...]:
    """The parameters that say how workers of one role are scheduled."""
    return (
        ParameterSpec(
            f"{role}.policy", policy, f"Scheduling policy for workers of role {role}.", choices=tuple(POLICIES)
        ),
        ParameterSpec(
            f"{role}.priority",
            priority,
            f"Real-time priority for role {role} under FIFO and RR.",
            minimum=MIN_PRIORITY,
            maximum=MAX_PRIORITY,
        ),
        ParameterSpec(
            f"{role}.affinity",
            [],
            f"Numbers of the CPUs for role {role}; empty for all.",
            item=int,
            minimum=0,
            maximum=4095,
        ),
    )


@dataclass
class Worker:
    """A worker as the scheduler knows it."""

    status: WorkerStatus
    heard_at: float  # monotonic, seconds
    remote: RemoteParameters
    asked_pid: int = 0  # process that was last told its policy
    silent: bool = False


class Scheduler(ManagedNode):
    """Sets the workers' policies through their own parameters and gathers their state."""

    def __init__(self) -> None:
        specs = [spec for role, default in DEFAULT_POLICIES.items() for spec in policy_parameters(role, *default)]
        super().__init__("scheduler", specs)
        self._workers: dict[str, Worker] = {}
        self._topics: set[str] = set()
        self._decisions: deque[str] = deque(maxlen=DECISIONS)
        self._status_publisher = self.create_publisher(SchedulerStatus, "scheduler/status", qos.result_data())
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", qos.result_data())
        self._timer = self.create_timer(PERIOD, self._look_around, clock=self.steady_clock)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        roles = {name.split(".")[0] for name in changed}
        for worker in self._workers.values():
            if worker.status.role in roles:
                worker.asked_pid = 0

    def _look_around(self) -> None:
        if self.state_label != "active":
            return
        self._find_workers()
        for name, worker in self._workers.items():
            self._notice_silence(name, worker)
            if not worker.silent and worker.asked_pid != worker.status.pid and worker.remote.reachable():
                self._ask(name, worker)
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
            remote = RemoteParameters(self, status.name)
            worker = self._workers[status.name] = Worker(status, time.monotonic(), remote)
            self._decide(f"{status.name} found ({status.role})")
        worker.status, worker.heard_at = status, time.monotonic()
        if worker.silent:
            worker.silent = False
            self._decide(f"{status.name} is back")

    def _notice_silence(self, name: str, worker: Worker) -> None:
        if not worker.silent and time.monotonic() - worker.heard_at > SILENCE:
            worker.silent = True
            self._decide(f"{name} has been silent for {SILENCE:g} s")

    def _ask(self, name: str, worker: Worker) -> None:
        """Tell a worker the policy of its role."""
        role = worker.status.role
        worker.asked_pid = worker.status.pid
        if role not in DEFAULT_POLICIES:
            return
        policy, priority = self.parameters[f"{role}.policy"], self.parameters[f"{role}.priority"]
        affinity = Parameter("scheduling.affinity", Parameter.Type.INTEGER_ARRAY, self.parameters[f"{role}.affinity"])
        values = {"scheduling.policy": policy, "scheduling.priority": priority, "scheduling.affinity": affinity}
        self._decide(f"{name} is asked to run {policy}{f' {priority}' if policy in ('FIFO', 'RR') else ''}")
        worker.remote.set(values).add_done_callback(partial(self._answered, name))

    def _answered(self, name: str, future: Future) -> None:
        result = future.result().result
        if not result.successful:
            self._decide(f"{name} refused: {result.reason}")

    def _decide(self, sentence: str) -> None:
        self._decisions.append(sentence)
        self.get_logger().info(sentence)

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        workers = [worker.status for worker in self._workers.values() if not worker.silent]
        status = SchedulerStatus(workers=workers, decisions=list(self._decisions))
        status.header.stamp = stamp
        status.summary = "; ".join(map(summarize, workers)) or "no workers yet"
        self._status_publisher.publish(status)
        diagnostics = DiagnosticArray(status=[diagnose(w.status, w.silent) for w in self._workers.values()])
        diagnostics.header.stamp = stamp
        self._diagnostics_publisher.publish(diagnostics)


def summarize(worker: WorkerStatus) -> str:
    """One worker in a few words."""
    policy = worker.policy_granted + (f" {worker.priority_granted}" if worker.priority_granted else "")
    return f"{worker.name} {policy} {worker.rate_out_hz:.1f} Hz p99 {worker.latency_p99_ms:.1f} ms"


def main() -> None:
    sys.exit(run_node(Scheduler))


if __name__ == "__main__":
    main()
