# SPDX-License-Identifier: Apache-2.0
"""Where the sensors of a camera are to each other, heard from /tf_static and from extrinsics topics."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from .transforms import tree_type

KEPT = 100  # of the publishers of /tf_static; each sends all it has at once

Pose = NDArray[np.float64]
"""4x4."""


class StaticFrames:
    """Frames that do not move to each other; they may be asked for in any thread."""

    def __init__(self) -> None:
        self._poses: dict[tuple[str, str], Pose] = {}  # (parent, child) -> pose of child in parent; replaced as a whole

    def learn(self, transforms: Iterable[TransformStamped]) -> None:
        """Take transforms in; what was known of the same two frames is out of date."""
        poses = dict(self._poses)
        for entry in transforms:
            pose = matrix(entry.transform)
            poses[entry.header.frame_id, entry.child_frame_id] = pose
            poses[entry.child_frame_id, entry.header.frame_id] = np.asarray(np.linalg.inv(pose), np.float64)
        self._poses = poses

    def pose(self, frame: str, seen_from: str) -> Pose | None:
        """Pose of `frame` in `seen_from`, which maps points of the former to the latter; None when it is not known."""
        poses = self._poses
        reached = {seen_from: np.eye(4)}
        waiting = deque([seen_from])
        while waiting and frame not in reached:
            parent = waiting.popleft()
            for (start, child), pose in poses.items():
                if start == parent and child not in reached:
                    reached[child] = reached[parent] @ pose
                    waiting.append(child)
        return reached.get(frame)


class StaticFramesListener:
    """Subscribes to /tf_static (where tf2_msgs is installed) and to a camera's extrinsics/depth_to_color."""

    def __init__(self, node: Node) -> None:
        self.frames = StaticFrames()
        self._node = node
        profile = QoSProfile(
            depth=KEPT, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._subscriptions: list[Any] = [
            node.create_subscription(
                TransformStamped, "extrinsics/depth_to_color", lambda entry: self.frames.learn([entry]), profile
            )
        ]
        tree = tree_type()
        if tree is not None:
            self._subscriptions.append(node.create_subscription(tree, "/tf_static", self._hear_tree, profile))

    def _hear_tree(self, message: Any) -> None:
        self.frames.learn(message.transforms)

    def close(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


def matrix(transform: Transform) -> Pose:
    """A transform as a 4x4 matrix."""
    pose = np.eye(4)
    pose[:3, :3] = _rotation(transform.rotation)
    pose[:3, 3] = transform.translation.x, transform.translation.y, transform.translation.z
    return pose


def _rotation(quaternion: Quaternion) -> NDArray[np.float64]:
    """Rotation matrix 3x3; that of no rotation for a quaternion of length 0."""
    vector = np.array([quaternion.w, quaternion.x, quaternion.y, quaternion.z])
    length = float(np.linalg.norm(vector))
    w, x, y, z = vector / length if length else (1.0, 0.0, 0.0, 0.0)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
