# SPDX-License-Identifier: Apache-2.0
"""Listens to a camera's metadata and to the sets that frame_sync makes; the nodes' pictures are not touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import rclpy
from muon_ad_msgs.msg import FrameMetadata, FrameSet, SyncStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from std_srvs.srv import SetBool

QUEUE = 1000  # messages: a stall of this process must not look like lost frames


class CameraListener:
    """A context manager that collects messages in a thread, in a ROS context of its own."""

    def __init__(self, namespace: str, streams: tuple[str, ...]) -> None:
        self.metadata: dict[str, list[FrameMetadata]] = {stream: [] for stream in streams}
        self.sets: list[FrameSet] = []
        self.statuses: list[SyncStatus] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("camera_listener", context=self._context, namespace=namespace)
        for stream, entries in self.metadata.items():
            self._listen(FrameMetadata, f"{stream}/metadata", entries.append)
        self._listen(FrameSet, "synced/set", self.sets.append)
        self._listen(SyncStatus, "sync/status", self.statuses.append)
        self._plug = self._node.create_client(SetBool, "camera/plug")
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)

    def __enter__(self) -> CameraListener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def plug(self, plugged_in: bool) -> Callable[[], bool]:
        """Put the emulated camera's plug in, or pull it; the result tells whether that is done."""
        future = self._plug.call_async(SetBool.Request(data=plugged_in))
        return lambda: bool(future.done() and future.result().success)

    def _listen(self, message_type: type, topic: str, take: Callable[[Any], None]) -> None:
        self._node.create_subscription(message_type, topic, take, QoSProfile(depth=QUEUE))
