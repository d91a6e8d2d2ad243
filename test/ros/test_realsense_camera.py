# SPDX-License-Identifier: Apache-2.0
"""realsense_camera over real DDS, on an emulated D415: the real driver library, unplugged and plugged in again."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from muon_ad_msgs.msg import FrameMetadata
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool

from muon_ad_core.sources.numbers import NumberCounter
from muon_ad_core.sources.realsense.streams import Extrinsics
from muon_ad_ros.transforms import camera_transforms, quaternion

SIZE = {"width": 320, "height": 240}
STREAMS = ("color", "depth")


def ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@pytest.fixture(scope="module")
def camera(start_node: Any) -> Any:
    pytest.importorskip("pyrealsense2", reason="pyrealsense2 or its libusb is missing", exc_type=ImportError)
    streams = [*STREAMS, "infra1"]
    return start_node(
        "realsense_camera",
        {"source": "emulated_d415", "streams": streams, "aligned_depth": True, **SIZE},
        name="camera",
    )


@pytest.fixture(scope="module")
def metadata(camera: Any, probe: Any, wait_until: Any) -> dict[str, list[FrameMetadata]]:
    entries = {stream: probe.listen(f"{camera.namespace}/{stream}/metadata", FrameMetadata) for stream in STREAMS}
    wait_until(lambda: all(len(listed) >= 20 for listed in entries.values()), "frames of the emulated D415")
    return entries


def test_all_pictures_come_with_their_calibration(camera: Any, metadata: Any, probe: Any, wait_until: Any) -> None:
    for topic, encoding, stream in (
        ("color/image_raw", "rgb8", "color"),
        ("depth/image_rect_raw", "16UC1", "depth"),
        ("infra1/image_rect_raw", "mono8", "infra1"),
        ("aligned_depth_to_color/image_raw", "16UC1", "color"),
    ):
        images = probe.listen(f"{camera.namespace}/{topic}", Image, reliable=False)
        infos = probe.listen(f"{camera.namespace}/{topic.rsplit('/', 1)[0]}/camera_info", CameraInfo, reliable=False)
        wait_until(lambda images=images, infos=infos: images and infos, f"pictures and calibration of {topic}")
        assert (images[0].width, images[0].height, images[0].encoding) == (320, 240, encoding)
        assert images[0].header.frame_id == infos[0].header.frame_id == f"camera_{stream}_optical_frame"
        assert (infos[0].width, infos[0].distortion_model) == (320, "plumb_bob")
        assert np.frombuffer(images[0].data, np.uint8).any()


def test_stamps_say_where_they_come_from(metadata: dict[str, list[FrameMetadata]]) -> None:
    for entries in metadata.values():
        assert {entry.provenance for entry in entries[5:20]} <= {"translated", "held"}
        assert all(ns(entry.header.stamp) <= ns(entry.arrival) for entry in entries)
        stamps = [ns(entry.header.stamp) for entry in entries]
        assert stamps == sorted(set(stamps))
        assert all(entry.uncertainty_ns > 0 and entry.device_ticks > 0 for entry in entries)
    depth = {entry.number: ns(entry.header.stamp) for entry in metadata["depth"]}
    color = {entry.number: ns(entry.header.stamp) for entry in metadata["color"]}
    later = [color[number] - depth[number] for number in sorted(set(depth) & set(color))[5:]]
    assert np.median(later) == pytest.approx(2_000_000, abs=100_000)  # as emulated


def test_the_sensors_places_are_told_to_late_subscribers(
    camera: Any, metadata: Any, probe: Any, wait_until: Any
) -> None:
    poses = probe.listen(f"{camera.namespace}/extrinsics/depth_to_color", TransformStamped, latched=True)
    wait_until(lambda: poses, "extrinsics")
    assert (poses[0].header.frame_id, poses[0].child_frame_id) == (
        "camera_color_optical_frame",
        "camera_depth_optical_frame",
    )
    assert poses[0].transform.translation.x == pytest.approx(-0.015)
    assert poses[0].transform.rotation.w == pytest.approx(1.0)


def test_no_frame_is_unaccounted_for_across_unplugging(
    camera: Any, metadata: dict[str, list[FrameMetadata]], probe: Any, wait_until: Any
) -> None:
    assert probe.call(f"{camera.name}/plug", SetBool, data=False).success
    wait_until(lambda: "it was unplugged" in camera.log, "the unplugging in the log")
    assert probe.call(f"{camera.name}/plug", SetBool, data=True).success
    again = {stream: lambda s=stream: sum(e.session == 2 for e in metadata[s]) >= 20 for stream in STREAMS}
    for stream, condition in again.items():
        wait_until(condition, f"{stream} after plugging in again")
    assert probe.call(f"{camera.name}/plug", SetBool, data=False).success  # so that all that was sent arrives
    status = wait_until(lambda: at_rest(probe.next_status(camera.name)), "nothing in work")
    assert status.frames_in == status.frames_out + sum(status.drop_counts)
    for entries in metadata.values():
        sessions = defaultdict(NumberCounter)
        for entry in list(entries):
            skipped = sessions[entry.session].count(entry.number)
            if sessions[entry.session].received > 1:
                assert skipped == entry.missed
        assert set(sessions) == {1, 2}
        assert {counter.repeated + counter.restarts for counter in sessions.values()} == {0}
    assert probe.call(f"{camera.name}/plug", SetBool, data=True).success


def at_rest(status: Any) -> Any:
    return status if status.rate_in_hz == 0.0 else None


def test_the_library_is_asked_for_in_one_sentence(
    start_node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyrealsense2.py").write_text("raise ModuleNotFoundError('No module named pyrealsense2')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    node = start_node("realsense_camera", namespace="test_realsense_missing")
    assert node.wait() == 2
    assert "run 'pip install pyrealsense2'" in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"streams": ["color", "sonar"]}, "streams must name some of color, depth"),
        ({"streams": ["color"], "aligned_depth": True}, "aligned_depth needs the streams color and depth"),
        ({"source": "nowhere.db3"}, "there is no RealSense recording nowhere.db3"),
    ],
)
def test_a_mistake_ends_the_node_with_one_sentence(start_node: Any, parameters: Any, sentence: str) -> None:
    pytest.importorskip("pyrealsense2", reason="pyrealsense2 or its libusb is missing", exc_type=ImportError)
    node = start_node("realsense_camera", parameters, namespace="test_realsense_mistake")
    assert node.wait() == 2
    assert sentence in node.log
    assert "Traceback" not in node.log


def rotation_of(message: Any) -> np.ndarray:
    """Matrix of a unit quaternion."""
    x, y, z, w = message.x, message.y, message.z, message.w
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


@pytest.mark.parametrize("seed", range(8))
def test_quaternions_are_those_of_their_matrices(seed: int) -> None:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation = q * np.linalg.det(q)
    assert rotation_of(quaternion(rotation)) == pytest.approx(rotation, abs=1e-9)


def test_the_colour_sensor_stands_to_the_right_of_depth() -> None:
    """REP 103: right is -y in body axes, x in optical ones."""
    colour = Extrinsics(np.eye(3), np.array([-0.015, 0.0, 0.0]))  # a point moves to the left in the right camera
    body, optical = camera_transforms("camera", {"color": colour})
    assert (body.header.frame_id, body.child_frame_id) == ("camera_link", "camera_color_frame")
    assert body.transform.translation.y == pytest.approx(-0.015)
    assert rotation_of(optical.transform.rotation) @ [0.0, 0.0, 1.0] == pytest.approx([1.0, 0.0, 0.0])
