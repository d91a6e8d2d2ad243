# SPDX-License-Identifier: Apache-2.0
"""Places of sensors, found through chains of transforms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Transform, TransformStamped
from numpy.typing import NDArray

from muon_ad_core.sources.realsense.streams import Extrinsics
from muon_ad_ros.static_frames import StaticFrames, matrix
from muon_ad_ros.transforms import camera_transforms, transform

TURN = cv2.Rodrigues(np.array([0.1, -0.4, 0.25]))[0]
SHIFT = np.array([-0.015, 0.002, 0.001])


def entry(parent: str, child: str, rotation: NDArray[np.float64], position: NDArray[np.float64]) -> TransformStamped:
    return transform(parent, child, rotation, position)


def test_a_transform_and_its_inverse() -> None:
    frames = StaticFrames()
    frames.learn([entry("color", "depth", TURN, SHIFT)])
    pose = frames.pose("depth", seen_from="color")
    assert pose is not None
    assert pose[:3, :3] == pytest.approx(TURN)
    assert pose[:3, 3] == pytest.approx(SHIFT)
    back = frames.pose("color", seen_from="depth")
    assert back is not None
    assert back @ pose == pytest.approx(np.eye(4))


def test_the_tree_of_a_camera_gives_its_extrinsics() -> None:
    frames = StaticFrames()
    frames.learn(camera_transforms("camera", {"depth": Extrinsics(np.eye(3), np.zeros(3))}))
    frames.learn(camera_transforms("camera", {"color": Extrinsics(TURN, SHIFT)}))
    pose = frames.pose("camera_depth_optical_frame", seen_from="camera_color_optical_frame")
    assert pose is not None
    assert pose[:3, :3] == pytest.approx(TURN)
    assert pose[:3, 3] == pytest.approx(SHIFT)


def test_what_is_told_anew_replaces_what_was_known() -> None:
    frames = StaticFrames()
    frames.learn([entry("color", "depth", np.eye(3), SHIFT)])
    frames.learn([entry("color", "depth", np.eye(3), 2 * SHIFT)])
    pose = frames.pose("depth", seen_from="color")
    assert pose is not None
    assert pose[:3, 3] == pytest.approx(2 * SHIFT)


def test_frames_without_a_connection_have_no_pose() -> None:
    frames = StaticFrames()
    frames.learn([entry("a", "b", TURN, SHIFT), entry("c", "d", TURN, SHIFT)])
    assert frames.pose("d", seen_from="a") is None
    assert frames.pose("nowhere", seen_from="a") is None


def test_a_quaternion_of_length_zero_does_not_turn() -> None:
    message = Transform()
    message.rotation.w = 0.0
    assert matrix(message) == pytest.approx(np.eye(4))
