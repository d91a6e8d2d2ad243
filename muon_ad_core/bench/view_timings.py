# SPDX-License-Identifier: Apache-2.0
"""Listens to a worker's frame times from the measuring process."""

from __future__ import annotations

import threading

import rclpy
from muon_ad_msgs.msg import FrameTiming
from rclpy.executors import SingleThreadedExecutor

from muon_ad_ros import qos


class TimingListener:
    """Collects `total_ms` of every FrameTiming on a topic, in a thread of its own."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._totals: list[float] = []
        self.count = 0  # since the beginning

    def __enter__(self) -> TimingListener:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("timing_listener", context=self._context)
        self._node.create_subscription(FrameTiming, self._topic, self._hear, qos.result_data())
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="timings", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def clear(self) -> None:
        """Forget what has come so far."""
        self.take()

    def take(self) -> list[float]:
        """What has come since the last call, in milliseconds."""
        with self._lock:
            totals, self._totals = self._totals, []
        return totals

    def _hear(self, timing: FrameTiming) -> None:
        with self._lock:
            self._totals.append(float(timing.total_ms))
            self.count += 1
