# SPDX-License-Identifier: Apache-2.0
"""scene_camera and video_camera over real DDS."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CameraInfo, Image

FRAMES = 12


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def pixels_of(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


@pytest.fixture(scope="module")
def scene(start_node: Any) -> Any:
    return start_node("scene_camera", {"width": 320, "height": 240}, name="camera")


@pytest.fixture(scope="module")
def color(scene: Any, probe: Any, wait_until: Any) -> list[Image]:
    images = probe.listen(f"{scene.namespace}/color/image_raw", Image, reliable=False)
    wait_until(lambda: len(images) >= FRAMES, "pictures of the scene")
    return images


def test_the_scene_moves_and_stamps_rise(scene: Any, color: list[Image], probe: Any) -> None:
    images = color[:FRAMES]
    stamps = [stamp_of(image) for image in images]
    assert stamps == sorted(set(stamps))
    assert abs(probe.now_ns() - stamp_of(color[-1])) < 60e9
    assert {(image.width, image.height, image.encoding) for image in images} == {(320, 240, "rgb8")}
    assert images[0].header.frame_id == "camera_color_optical_frame"
    assert not np.array_equal(pixels_of(images[0]), pixels_of(images[-1]))


def test_depth_and_csi_share_the_colour_stamp(scene: Any, color: list[Image], probe: Any, wait_until: Any) -> None:
    for name, frame_id, encoding in (
        ("depth/image_rect_raw", "camera_color_optical_frame", "16UC1"),
        ("csi/image_raw", "csi_optical_frame", "rgb8"),
    ):
        images = probe.listen(f"{scene.namespace}/{name}", Image, reliable=False)
        wait_until(lambda images=images: len(images) >= 3, f"pictures on {name}")
        assert (images[-1].header.frame_id, images[-1].encoding) == (frame_id, encoding)
        stamp_ns = stamp_of(images[2])
        wait_until(lambda ns=stamp_ns: ns in {stamp_of(image) for image in color}, "the colour picture of that stamp")


def test_calibrations_belong_to_their_pictures(scene: Any, color: list[Image], probe: Any, wait_until: Any) -> None:
    infos = probe.listen(f"{scene.namespace}/color/camera_info", CameraInfo, reliable=False)
    wait_until(lambda: len(infos) >= 3, "calibrations")
    wait_until(lambda: stamp_of(infos[2]) in {stamp_of(image) for image in color}, "the picture of a calibration")
    assert (infos[0].width, infos[0].height, infos[0].distortion_model) == (320, 240, "plumb_bob")
    assert infos[0].k[0] > 0.0


def test_dropped_frames_are_counted(scene: Any, color: list[Image], probe: Any, wait_until: Any) -> None:
    assert probe.set_parameter(scene.name, "drop", 0.5).successful

    def drops() -> int:
        status = probe.next_status(scene.name)
        in_work = status.frames_in - status.frames_out - sum(status.drop_counts)
        assert 0 <= in_work <= 1  # the one being published at that instant
        return dict(zip(status.drop_causes, status.drop_counts)).get("not_captured", 0)

    wait_until(drops, "dropped frames in the status")
    assert probe.set_parameter(scene.name, "drop", 0.0).successful
    assert probe.next_status(scene.name).role == "source"


def test_what_cannot_change_live_says_what_to_do(scene: Any, probe: Any) -> None:
    result = probe.set_parameter(scene.name, "rate", 15.0)
    assert not result.successful
    assert "clean the node up first" in result.reason


def test_a_deactivated_camera_is_silent(scene: Any, color: list[Image], probe: Any, wait_until: Any) -> None:
    assert probe.change_state(scene.name, Transition.TRANSITION_DEACTIVATE)
    sent = probe.next_status(scene.name).frames_out
    assert probe.next_status(scene.name).frames_out == sent
    assert probe.change_state(scene.name, Transition.TRANSITION_ACTIVATE)
    seen = len(color)
    wait_until(lambda: len(color) >= seen + FRAMES, "pictures after activation")
    seconds = (stamp_of(color[seen + FRAMES - 1]) - stamp_of(color[seen])) / 1e9
    assert seconds > 0.7 * (FRAMES - 1) / 30, "it must keep its rate, not hurry to where it was before"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 96x64, each of one grey."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (96, 64))
    assert writer.isOpened()
    for index in range(6):
        writer.write(np.full((64, 96, 3), 40 * index, np.uint8))
    writer.release()
    return path


def test_a_clip_is_played_in_a_loop(start_node: Any, probe: Any, wait_until: Any, clip: Path) -> None:
    node = start_node("video_camera", {"source": str(clip)}, namespace="test_clip")
    images = probe.listen(f"{node.namespace}/color/image_raw", Image, reliable=False)
    wait_until(lambda: len(images) >= 20, "more pictures than the clip has")
    greys = [round(float(pixels_of(image).mean()) / 40) for image in images]
    assert set(greys) == set(range(6))
    stamps = [stamp_of(image) for image in images]
    assert stamps == sorted(set(stamps))


def test_a_folder_of_pictures_is_a_camera_too(start_node: Any, probe: Any, wait_until: Any, tmp_path: Path) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((48, 64, 3), 100 * index + 20, np.uint8))
    node = start_node("video_camera", {"source": str(tmp_path), "rate": 10.0}, namespace="test_folder")
    images = probe.listen(f"{node.namespace}/color/image_raw", Image, reliable=False)
    wait_until(lambda: {int(pixels_of(image)[0, 0, 0]) for image in images} == {20, 120}, "both pictures")


def test_a_missing_file_ends_the_camera_with_one_sentence(start_node: Any) -> None:
    node = start_node("video_camera", {"source": "no_such_clip.mp4"}, namespace="test_missing")
    assert node.wait() == 2
    assert "no_such_clip.mp4" in node.log
    assert "Traceback" not in node.log
