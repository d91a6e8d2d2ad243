# SPDX-License-Identifier: Apache-2.0
"""Detections in space from the emulated D415's own depth, which nobody has aligned: camera and detector over DDS."""

from __future__ import annotations

from typing import Any

import pytest
from vision_msgs.msg import Detection3DArray


def test_unaligned_depth_of_the_emulated_d415_places_detections(start_node: Any, probe: Any, wait_until: Any) -> None:
    pytest.importorskip("pyrealsense2", reason="pyrealsense2 or its libusb is missing", exc_type=ImportError)
    camera = start_node(
        "realsense_camera",
        {"source": "emulated_d415", "camera_name": "d415", "width": 640, "height": 480, "rate": 10},
        name="camera",
    )
    detector = start_node("detector", {"score_threshold": 0.05})
    messages = probe.listen(f"{camera.namespace}/detections_3d", Detection3DArray)
    message = wait_until(lambda: next((m for m in messages if m.detections), None), "detections in space")
    assert message.header.frame_id == "d415_color_optical_frame"
    for found in message.detections:
        assert 1.0 < found.bbox.center.position.z < 8.0  # the scene is about 2 to 5 m deep
        assert found.id
    assert "depth_size" not in probe.next_status(detector.name).fault_causes
