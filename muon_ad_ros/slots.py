# SPDX-License-Identifier: Apache-2.0
"""Holds a worker back until a slot opens after another worker's frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from muon_ad_msgs.msg import FrameTiming
from rclpy.node import Node

from muon_ad_core.realtime.admission import SlotAdmission

from . import qos

POLL = 0.02  # seconds between looks while no frame of the other worker is finished


class SlotGate:
    """Follows the timing of the worker that goes first; open while there is none."""

    def __init__(self, node: Node, least_rate: float) -> None:
        self._node = node
        self._admission = SlotAdmission(least_rate)
        self._changed = threading.Condition()
        self._subscription: Any = None
        self._worker = ""

    def follow(self, worker: str, least_rate: float) -> None:
        """Give way to `worker` (name of a node; empty: to nobody), but run at `least_rate` (Hz) in any case."""
        with self._changed:
            self._admission.least_rate = least_rate
            if worker == self._worker:
                return
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
                self._subscription = None
            self._admission = SlotAdmission(least_rate)
            self._worker = worker
            if worker:
                self._subscription = self._node.create_subscription(
                    FrameTiming, f"{worker}/timing", self._frame_finished, qos.result_data()
                )
            self._changed.notify()

    def wait(self, closed: Callable[[], bool]) -> None:
        """Return when work may begin, or `closed()` is true."""
        with self._changed:
            while self._worker and not closed() and not self._admission.may_begin(time.monotonic()):
                self._changed.wait(POLL)

    def ran(self, began: float, seconds: float) -> None:
        """Work began at `began` (monotonic) and took `seconds`."""
        with self._changed:
            self._admission.ran(began, seconds)

    def _frame_finished(self, timing: FrameTiming) -> None:
        finished = time.monotonic()
        in_work = (timing.total_ms - timing.transport_ms) / 1e3
        with self._changed:
            self._admission.frame_finished(finished - in_work, finished)
            self._changed.notify()
