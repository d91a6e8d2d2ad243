# SPDX-License-Identifier: Apache-2.0
"""Helper process of the replay benchmark: notes when each frame passed at the graph's input and output, unread.

It also takes in what the workers tell of themselves on ~/timing and ~/status.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import rclpy
from muon_ad_msgs.msg import FrameTiming, WorkerStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from muon_ad_core.bench.helper_process import Message, serve
from muon_ad_core.bench.recording import STAGES
from muon_ad_core.realtime.policy import PolicyRequest, apply_policy
from muon_ad_ros.environment import apply_dds_profile
from muon_ad_ros.serialized import header_of

PRIORITY = 45  # under FIFO: above the player, below style
IMAGE_DEPTH, DATA_DEPTH = 30, 200


class Monitor:
    """Rows since the last `collect`."""

    def __init__(self) -> None:
        self._node = rclpy.create_node("replay_monitor")
        self._lock = threading.Lock()
        self._rows: dict[str, list[Any]] = {"input": [], "output": [], "timings": [], "statuses": []}
        self._output = ""
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        if self._thread.is_alive():
            self._thread.join()
        self._node.destroy_node()

    def answer(self, request: Message) -> Message:
        """Requests: watch (input, output, workers: full names), publishers, collect."""
        what = request.pop("what")
        answers: dict[str, Callable[..., Message]] = {
            "watch": self._watch,
            "publishers": self._publishers,
            "collect": self._collect,
        }
        return answers[what](**request)

    def _watch(self, input: str, output: str, workers: list[str]) -> Message:
        unacknowledged = QoSProfile(depth=IMAGE_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        for side, topic in (("input", input), ("output", output)):
            self._node.create_subscription(Image, topic, partial(self._passed, side), unacknowledged, raw=True)
        for worker in workers:
            self._node.create_subscription(FrameTiming, f"{worker}/timing", self._timed, QoSProfile(depth=DATA_DEPTH))
            self._node.create_subscription(WorkerStatus, f"{worker}/status", self._told, QoSProfile(depth=DATA_DEPTH))
        self._output = output
        self._thread.start()
        return {"policy": str(apply_policy(PolicyRequest("FIFO", PRIORITY)))}

    def _publishers(self) -> Message:
        return {"count": self._node.count_publishers(self._output)}

    def _collect(self) -> Message:
        with self._lock:
            rows, self._rows = self._rows, {name: [] for name in self._rows}
            return rows

    def _passed(self, side: str, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        with self._lock:
            self._rows[side].append([*header_of(data), now_ns])

    def _timed(self, timing: FrameTiming) -> None:
        stamp_ns = timing.header.stamp.sec * 1_000_000_000 + timing.header.stamp.nanosec
        stages = {stage: float(getattr(timing, f"{stage}_ms")) for stage in STAGES}
        with self._lock:
            self._rows["timings"].append([timing.worker, stamp_ns, timing.header.frame_id, timing.total_ms, stages])

    def _told(self, status: WorkerStatus) -> None:
        drops = dict(zip(status.drop_causes, map(int, status.drop_counts)))
        with self._lock:
            self._rows["statuses"].append(
                [status.name, time.monotonic_ns(), status.state, int(status.frames_in), int(status.frames_out), drops]
            )


def main() -> None:
    """Serve the benchmark."""
    apply_dds_profile()
    rclpy.init()
    monitor = Monitor()
    serve(monitor.answer)
    monitor.close()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
