# SPDX-License-Identifier: Apache-2.0
"""bag_player over real DDS: loop, stamps, pause and step, /clock, damaged recordings; and which topics it plays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from muon_ad_msgs.msg import FrameTiming
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.sources.bag_types import Topic
from muon_ad_ros.bag_topics import camera_names, parse_remaps, recorded_names

TYPES = get_typestore(Stores.ROS2_HUMBLE)
START = 1_600_000_000_000_000_000
PERIOD = 50_000_000
COUNT = 8
HEIGHT, WIDTH = 24, 32


def header(stamp_ns: int) -> Any:
    time = TYPES.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return TYPES.types["std_msgs/msg/Header"](time, "recorded_frame")


def record(path: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """COUNT pictures on /cam/color/image_raw whose pixels are their number, each with its camera_info."""
    image_type, info_type = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
    region = TYPES.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    with Writer(path, version=8, storage_plugin=storage) as writer:
        images = writer.add_connection("/cam/color/image_raw", image_type, typestore=TYPES)
        infos = writer.add_connection("/cam/color/camera_info", info_type, typestore=TYPES)
        for index in range(COUNT):
            stamp_ns = START + index * PERIOD
            pixels = np.full(3 * HEIGHT * WIDTH, index, np.uint8)
            image = TYPES.types[image_type](header(stamp_ns), HEIGHT, WIDTH, "rgb8", 0, 3 * WIDTH, pixels)
            info = TYPES.types[info_type](
                header(stamp_ns), HEIGHT, WIDTH, "plumb_bob", np.zeros(5), np.eye(3).ravel(), np.eye(3).ravel(),
                np.eye(3, 4).ravel(), 0, 0, region,
            )  # fmt: skip
            writer.write(infos, stamp_ns + 1_000_000, TYPES.serialize_cdr(info, info_type))
            writer.write(images, stamp_ns + 1_000_000, TYPES.serialize_cdr(image, image_type))
    return path


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bag") / "recording")


def test_a_recording_loops_as_a_camera_with_fresh_stamps(
    start_node: Any, probe: Any, wait_until: Any, recording: Path
) -> None:
    began_ns = probe.now_ns()
    node = start_node("bag_player", {"bag": str(recording), "camera_only": True}, namespace="test_loop")
    images = probe.listen(f"{node.namespace}/color/image_raw", Image, reliable=False)
    infos = probe.listen(f"{node.namespace}/color/camera_info", CameraInfo, reliable=False)
    wait_until(lambda: len(images) > 2 * COUNT and len(infos) > 2 * COUNT, "more pictures than recorded")
    stamps = [stamp_of(image) for image in images]
    assert stamps == sorted(set(stamps))
    assert stamps[0] > began_ns
    assert {image.data[0] for image in images} == set(range(COUNT))
    assert images[0].header.frame_id == "recorded_frame"
    common = set(stamps) & {stamp_of(info) for info in infos}
    assert len(common) > COUNT  # what was recorded with one stamp is played with one stamp
    status = probe.next_status(node.name)
    assert status.role == "source"
    assert status.frames_out >= len(images) - 5


def test_recorded_stamps_and_clock(start_node: Any, probe: Any, wait_until: Any, recording: Path) -> None:
    clocks = probe.listen("/clock", Clock)
    node = start_node(
        "bag_player",
        {
            "bag": str(recording), "loop": False, "stamps": "original", "clock_rate": 50.0, "paused": True,
            "topics": ["/cam/color/image_raw"], "remap": ["/cam/color/image_raw:=renamed"],
        },
        namespace="test_clock",
    )  # fmt: skip
    images = probe.listen(f"{node.namespace}/renamed", Image, reliable=False)
    wait_until(lambda: clocks, "/clock while paused")
    wait_until(lambda: probe.node.count_publishers(f"{node.namespace}/renamed") > 0, "the player's publisher")

    def step_once() -> bool:
        assert probe.call(f"{node.name}/step", Trigger).success
        return len(images) > 0

    wait_until(step_once, "a picture after a step")  # steps before discovery pass by unseen
    index = images[0].data[0]
    assert stamp_of(images[0]) == START + index * PERIOD
    assert probe.call(f"{node.name}/pause", SetBool, data=False).success
    wait_until(lambda: "played to its end" in node.log, "the end of the recording")
    wait_until(lambda: stamp_of(images[-1]) == START + (COUNT - 1) * PERIOD, "the last picture")
    assert not probe.call(f"{node.name}/step", Trigger).success
    times = [clock.clock.sec * 1_000_000_000 + clock.clock.nanosec for clock in clocks]
    assert times == sorted(times)
    assert START <= times[0] <= times[-1] < START + 3600 * 1_000_000_000


def test_in_simulated_time_latency_is_play_time(start_node: Any, probe: Any, wait_until: Any, recording: Path) -> None:
    worker = start_node("style_transfer", {"use_sim_time": True}, namespace="test_sim_time")
    timings = probe.listen(f"{worker.name}/timing", FrameTiming)
    assert wait_until(lambda: probe.state(worker.name) == "active", "the worker's activation")
    parameters = {"bag": str(recording), "camera_only": True, "stamps": "original", "clock_rate": 50.0}
    start_node("bag_player", parameters, namespace="test_sim_time")
    wait_until(lambda: len(timings) > COUNT, "frames of more than one round")
    assert START <= stamp_of(timings[0]) < START + 3600 * 1_000_000_000
    stamps = [stamp_of(timing) for timing in timings]
    assert stamps == sorted(stamps)  # a new round goes on in time
    assert all(timing.total_ms < 60_000.0 for timing in timings[1:])


def test_speed_changes_live_and_is_checked(start_node: Any, probe: Any, recording: Path) -> None:
    node = start_node("bag_player", {"bag": str(recording)}, namespace="test_speed")
    assert probe.set_parameter(node.name, "rate", 4.0).successful
    assert not probe.set_parameter(node.name, "rate", 0.0).successful
    refused = probe.set_parameter(node.name, "loop", False)
    assert not refused.successful
    assert "clean the node up first" in refused.reason


def test_of_a_truncated_recording_what_is_left_is_played(
    start_node: Any, probe: Any, wait_until: Any, tmp_path: Path
) -> None:
    recording = record(tmp_path / "whole")
    whole = next(recording.glob("*.mcap")).read_bytes()
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(whole[: int(0.7 * len(whole))])
    node = start_node("bag_player", {"bag": str(damaged), "camera_only": True}, namespace="test_truncated")
    images = probe.listen(f"{node.namespace}/color/image_raw", Image, reliable=False)
    wait_until(lambda: len(images) > COUNT, "pictures of the damaged recording")
    assert "is damaged" in node.log
    assert node.log.count("is damaged") == 1


@pytest.mark.parametrize("content", [None, b"this is no recording"])
def test_an_unusable_recording_ends_the_player_with_one_sentence(
    start_node: Any, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "unusable.mcap"
    if content is not None:
        path.write_bytes(content)
    node = start_node("bag_player", {"bag": str(path)}, namespace=f"test_unusable_{content is None}")
    assert node.wait() == 2
    assert "unusable.mcap" in node.log
    assert "Traceback" not in node.log


def topics(**types: str) -> dict[str, Topic]:
    names = {"image": "sensor_msgs/msg/Image", "info": "sensor_msgs/msg/CameraInfo", "text": "std_msgs/msg/String"}
    return {name.replace("__", "/"): Topic(names[kind], 3, True) for name, kind in types.items()}


def test_topics_of_a_realsense_recording_become_the_cameras() -> None:
    recorded = topics(
        __cam__color__image_raw="image",
        __cam__color__camera_info="info",
        __cam__depth__image_rect_raw="image",
        __cam__infra1__image_rect_raw="image",
        __rosout="text",
    )
    assert camera_names(recorded, {}) == {
        "/cam/color/image_raw": "color/image_raw",
        "/cam/color/camera_info": "color/camera_info",
        "/cam/depth/image_rect_raw": "depth/image_rect_raw",
    }


def test_the_first_picture_topic_stands_for_the_camera() -> None:
    recorded = topics(__depth__raw="image", __usb_cam__image="image", __usb_cam__camera_info="info")
    assert camera_names(recorded, {}) == {
        "/usb_cam/image": "color/image_raw",
        "/usb_cam/camera_info": "color/camera_info",
    }


def test_a_remap_decides_which_topic_is_the_camera() -> None:
    recorded = topics(__a__color__image_raw="image", __b__color__image_raw="image")
    names = camera_names(recorded, {"/b/color/image_raw": "color/image_raw"})
    assert names == {"/b/color/image_raw": "color/image_raw"}


def test_a_recording_without_pictures_is_no_camera() -> None:
    with pytest.raises(SourceError, match="no colour pictures"):
        camera_names(topics(__rosout="text"), {})


def test_unknown_topics_and_malformed_remaps_are_refused() -> None:
    recorded = topics(__camera__image="image")
    assert recorded_names(recorded, [], {"/camera/image": "x"}) == {"/camera/image": "x"}
    with pytest.raises(SourceError, match="no topic /other: choose from /camera/image"):
        recorded_names(recorded, ["/other"], {})
    with pytest.raises(ParameterError, match="not of the form"):
        parse_remaps(["/camera/image"])
