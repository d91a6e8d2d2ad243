# SPDX-License-Identifier: Apache-2.0
"""Frames of a RealSense camera (REP 103, REP 105), named as realsense-ros names them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from muon_ad_core.sources.realsense.streams import Extrinsics

BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up)."""


def optical_frame(camera: str, stream: str) -> str:
    """Frame of a stream's pictures."""
    return f"{camera}_{stream}_optical_frame"


def camera_transforms(camera: str, extrinsics: Mapping[str, Extrinsics]) -> list[TransformStamped]:
    """The tree from CAMERA_link to every stream's frame and optical frame.

    CAMERA_link is the depth sensor, or without depth that of the first stream.
    """
    transforms = []
    for stream, given in extrinsics.items():
        position = -given.rotation.T @ given.translation  # of the stream's sensor, seen from the depth sensor
        rotation = BODY_FROM_OPTICAL @ given.rotation.T @ BODY_FROM_OPTICAL.T
        body, optical = f"{camera}_{stream}_frame", optical_frame(camera, stream)
        transforms.append(transform(f"{camera}_link", body, rotation, BODY_FROM_OPTICAL @ position))
        transforms.append(transform(body, optical, BODY_FROM_OPTICAL, np.zeros(3)))
    return transforms


def transform(parent: str, child: str, rotation: NDArray[Any], position: NDArray[Any]) -> TransformStamped:
    """Pose of `child` in `parent`: rotation matrix 3x3, position in metres."""
    x, y, z = position.tolist()
    return TransformStamped(
        header=Header(frame_id=parent),
        child_frame_id=child,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=quaternion(rotation)),
    )


def quaternion(rotation: NDArray[Any]) -> Quaternion:
    """Unit quaternion of a rotation matrix, with w >= 0."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    squares = np.maximum(0.0, [1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz])
    largest = int(np.argmax(squares))
    columns = (
        (squares[0], xy + yx, xz + zx, zy - yz),
        (xy + yx, squares[1], yz + zy, xz - zx),
        (xz + zx, yz + zy, squares[2], yx - xy),
        (zy - yz, xz - zx, yx - xy, squares[3]),
    )
    values = np.array(columns[largest]) / (2.0 * math.sqrt(squares[largest]))
    x, y, z, w = (values if values[3] >= 0 else -values).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)


class GeometryPublisher:
    """Publishes a camera's extrinsics for late subscribers too: as /tf_static, and as extrinsics/depth_to_STREAM."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._profile = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._publishers: dict[str, Publisher] = {}
        self._tree_type = tree_type()

    def publish(self, camera: str, extrinsics: Mapping[str, Extrinsics]) -> None:
        """Tell where the sensors of a camera are."""
        stamp = self._node.get_clock().now().to_msg()
        tree = camera_transforms(camera, extrinsics)
        for entry in tree:
            entry.header.stamp = stamp
        if self._tree_type is not None:
            self._publish("/tf_static", self._tree_type(transforms=tree))
        for stream, given in extrinsics.items():
            if stream == "depth" or "depth" not in extrinsics:
                continue
            # What maps points of the depth sensor to the stream's sensor is the pose of the former in the latter.
            message = transform(
                optical_frame(camera, stream), optical_frame(camera, "depth"), given.rotation, given.translation
            )
            message.header.stamp = stamp
            self._publish(f"extrinsics/depth_to_{stream}", message)

    def close(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _publish(self, topic: str, message: Any) -> None:
        if topic not in self._publishers:
            self._publishers[topic] = self._node.create_publisher(type(message), topic, self._profile)
        self._publishers[topic].publish(message)


def tree_type() -> Any:
    """tf2_msgs/TFMessage where that package is installed, as with every ROS from apt; else None."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return None
    return TFMessage
