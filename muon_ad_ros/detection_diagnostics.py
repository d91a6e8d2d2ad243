# SPDX-License-Identifier: Apache-2.0
"""What a detector found, by class, as a diagnostic for /diagnostics."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from . import qos


class DetectionDiagnostics:
    """Counts detections by class; one thread may count while another publishes.

    Keys of the DiagnosticStatus: pictures, objects_tracked and ids_given; now.<class>, in the latest picture, and
    total.<class>, in all pictures since the node began, for every class that was found.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.result_data())
        self._lock = threading.Lock()
        self._pictures = 0
        self._now: Counter[str] = Counter()
        self._total: Counter[str] = Counter()
        self._tracked = self._given = 0

    def count(self, names: Iterable[str], tracked: int, given: int) -> None:
        """Take in one picture: the class of each detection, objects tracked at present, ids given so far."""
        now = Counter(names)
        with self._lock:
            self._pictures += 1
            self._now = now
            self._total.update(now)
            self._tracked, self._given = tracked, given

    def publish(self) -> None:
        """Tell the counts."""
        with self._lock:
            found = self._now.total()
            values = {
                "pictures": self._pictures,
                "objects_tracked": self._tracked,
                "ids_given": self._given,
                **{f"now.{name}": self._now[name] for name in self._total},
                **{f"total.{name}": count for name, count in self._total.items()},
            }
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: detections",
            message="1 object" if found == 1 else f"{found} objects",
            hardware_id=f"pid {os.getpid()}",
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
