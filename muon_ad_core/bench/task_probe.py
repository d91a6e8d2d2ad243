# SPDX-License-Identifier: Apache-2.0
"""A helper process in the joint task: it hears every timing and status, and sets parameters, states and engines."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from functools import partial
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from muon_ad_msgs.msg import FrameTiming, SchedulerStatus, WorkerStatus
from muon_ad_msgs.srv import ListStyles, LoadEngine
from rclpy.executors import SingleThreadedExecutor
from rclpy.task import Future

from muon_ad_core.bench.helper_process import Message, serve
from muon_ad_core.bench.recording import frame_key
from muon_ad_core.errors import UserError
from muon_ad_ros import qos
from muon_ad_ros.environment import apply_dds_profile
from muon_ad_ros.remote_parameters import RemoteParameters

NODES = ("camera", "style_transfer", "detector", "scheduler")
WORKERS = ("style_transfer", "detector")
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
PATIENCE = 60.0  # seconds for an answer of a node
KEPT = 20_000  # timings kept of each worker


class TaskProbe:
    """The node; `answer` handles one request."""

    def __init__(self, namespace: str) -> None:
        rclpy.init()
        self._node = rclpy.create_node("probe", namespace=namespace)
        self._statuses: dict[str, WorkerStatus] = {}
        self._history: deque[Message] = deque(maxlen=KEPT)
        self._scheduler: SchedulerStatus | None = None
        self._timings: dict[str, deque[Message]] = {name: deque(maxlen=KEPT) for name in WORKERS}
        self._clients: dict[str, Any] = {}
        self._parameters = {name: RemoteParameters(self._node, name) for name in NODES}
        for name in NODES[:-1]:
            self._node.create_subscription(WorkerStatus, f"{name}/status", self._hear_status, qos.result_data())
        for name in WORKERS:
            hear = partial(self._hear_timing, name)
            self._node.create_subscription(FrameTiming, f"{name}/timing", hear, qos.result_data())
        self._node.create_subscription(SchedulerStatus, "scheduler/status", self._hear_scheduler, qos.result_data())
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        self._closing.set()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def _spin(self) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        while not self._closing.is_set():
            executor.spin_once(timeout_sec=0.1)

    def answer(self, request: Message) -> Message:
        """Do what `request["do"]` names; raises UserError when a node does not answer."""
        action = request.pop("do")
        return getattr(self, f"do_{action}")(**request) or {}

    def do_look(self) -> Message:
        """The newest status of each worker, and the scheduler's."""
        workers = {name: _status(status) for name, status in self._statuses.items()}
        return {"workers": workers, "scheduler": _scheduler(self._scheduler) if self._scheduler else None}

    def do_history(self) -> Message:
        """Every status heard since the last call."""
        rows = [self._history.popleft() for _ in range(len(self._history))]
        return {"rows": rows}

    def do_timings(self, begin_ns: int, end_ns: int) -> Message:
        """Timings of the frames with stamps in a span."""
        return {
            name: [timing for timing in list(timings) if begin_ns <= timing["stamp_ns"] < end_ns]
            for name, timings in self._timings.items()
        }

    def do_heard(self, since: float, stamped_since_ns: int = 0) -> Message:
        """When (monotonic) each worker's first timing since then came; None when none did.

        Frames stamped before `stamped_since_ns`, or in the future, do not count unless it is 0.
        """
        stamps = (stamped_since_ns, time.time_ns()) if stamped_since_ns else (-math.inf, math.inf)
        return {name: _first_since(timings, since, stamps) for name, timings in self._timings.items()}

    def do_set(self, node: str, values: dict[str, Any]) -> Message:
        """Set parameters of a node; "refused" tells why it did not take them."""
        remote = self._parameters[node]
        if not remote.wait(PATIENCE):
            raise UserError(f"the parameters of {node} cannot be reached: has it ended?")
        result = self._result(remote.set(values), node).result
        return {"refused": "" if result.successful else result.reason}

    def do_transition(self, node: str, transition: str) -> Message:
        """Change the lifecycle state of a node."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return {"done": self._call(f"{node}/change_state", ChangeState, request, node).success}

    def do_load_engine(self, node: str, engine: str) -> Message:
        """Swap the engine of a worker."""
        response = self._call(f"{node}/load_engine", LoadEngine, LoadEngine.Request(path=engine), node)
        return {"done": response.success, "message": response.message}

    def do_styles(self) -> Message:
        """Names of the styles."""
        response = self._call("style_transfer/list_styles", ListStyles, ListStyles.Request(), "style_transfer")
        return {"styles": list(response.names)}

    def _call(self, service: str, kind: Any, request: Any, node: str) -> Any:
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self._node.create_client(kind, service)
        if not client.wait_for_service(PATIENCE):
            raise UserError(f"{service} is not offered: has {node} ended?")
        return self._result(client.call_async(request), node)

    def _result(self, future: Future, node: str) -> Any:
        answered = threading.Event()
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(PATIENCE):
            raise UserError(f"{node} did not answer within {PATIENCE:g} s")
        return future.result()

    def _hear_timing(self, worker: str, timing: FrameTiming) -> None:
        self._timings[worker].append(_timing(timing))

    def _hear_status(self, status: WorkerStatus) -> None:
        name = status.name.rsplit("/", 1)[-1]
        self._statuses[name] = status
        self._history.append({"node": name, **_status(status)})

    def _hear_scheduler(self, status: SchedulerStatus) -> None:
        self._scheduler = status


def _first_since(timings: deque[Message], since: float, stamps: tuple[float, float]) -> float | None:
    first = None
    for timing in reversed(list(timings)):
        if timing["heard"] < since:
            break
        if stamps[0] <= timing["stamp_ns"] <= stamps[1]:
            first = timing["heard"]
    return first


def _timing(message: FrameTiming) -> Message:
    return {
        "stamp_ns": frame_key(message.header)[0],
        "total_ms": message.total_ms,
        "missed": message.deadline_missed,
        "level": message.level,
        "lost_before": message.lost_before,
        "heard": time.monotonic(),
    }


def _status(status: WorkerStatus) -> Message:
    drops = dict(zip(status.drop_causes, map(int, status.drop_counts)))
    priority = f" {status.priority_granted}" if status.priority_granted else ""
    return {
        "heard": time.monotonic(),
        "stamp_ns": frame_key(status.header)[0],
        "pid": status.pid,
        "state": status.state,
        "levels": list(status.levels),
        "asked": status.policy_asked,
        "granted": status.policy_granted + priority,
        "reason": status.policy_reason,
        "deadline_ms": status.deadline_ms,
        "frames_in": status.frames_in,
        "frames_out": status.frames_out,
        "drops": drops,
        "rss_mb": status.rss_mb,
    }


def _scheduler(status: SchedulerStatus) -> Message:
    return {
        "slots_only": status.slots_only,
        "detection_limit_hz": status.detection_limit_hz,
        "style_level": status.style_level,
        "given_up": status.given_up,
        "restarts": status.restarts,
        "decisions": list(status.decisions),
    }


def main(namespace: str = "") -> None:
    """Answer requests until the parent closes its side."""
    apply_dds_profile()
    probe = TaskProbe(namespace)
    serve(probe.answer)
    probe.close()


if __name__ == "__main__":
    main()
