# SPDX-License-Identifier: Apache-2.0
"""The recorder node over real DDS: what was published can be read back from its file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from muon_ad_msgs.msg import FrameTiming, WorkerStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from muon_ad_core.bench.moments import frame_pairs
from muon_ad_core.bench.recording import Change, JointRecording, RecordingReader
from muon_ad_ros import qos
from muon_ad_ros.conversions import ImageWriter

FRAMES = 20
PERIOD = 1 / 30
PATIENCE = 20.0
HEIGHT, WIDTH = 96, 128


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    node = rclpy.create_node("style_transfer")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def picture(number: int) -> np.ndarray:
    """A smooth picture whose brightness tells its number and survives JPEG."""
    columns = np.linspace(0, 120, WIDTH)
    red = np.tile(columns, (HEIGHT, 1)) + 5 * number
    return np.dstack([red, red * 0.5, np.full_like(red, 40)]).astype(np.uint8)


def header(number: int) -> Header:
    return Header(stamp=Time(sec=1000, nanosec=number * 33_000_000), frame_id="camera_color_optical_frame")


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


def publish_joint_task(node: Node) -> None:
    """What camera, style_transfer and detector publish for some frames; the timing of frame 4 comes last."""
    color = node.create_publisher(Image, "color/image_raw", qos.sensor_output())
    stylized = node.create_publisher(Image, "stylized/image_raw", qos.result_image())
    timing = node.create_publisher(FrameTiming, "~/timing", qos.result_data())
    status = node.create_publisher(WorkerStatus, "~/status", qos.result_data())
    detections = node.create_publisher(Detection2DArray, "detections", qos.result_data())
    publishers = (color, stylized, timing, status, detections)
    wait_until(lambda: all(publisher.get_subscription_count() for publisher in publishers), "recording of all topics")
    writer = ImageWriter("rgb8")
    for number in range(FRAMES):
        color.publish(writer.write(picture(number), header(number)))
        time.sleep(PERIOD / 2)
        stylized.publish(writer.write(255 - picture(number), header(number)))
        if number != 4:
            timing.publish(FrameTiming(header=header(number), total_ms=10.0 + number, infer_ms=3.0, sequence=number))
        detections.publish(one_detection(number))
        time.sleep(PERIOD / 2)
    timing.publish(FrameTiming(header=header(4), total_ms=14.0, infer_ms=3.0, sequence=4))
    status.publish(
        WorkerStatus(
            name="/style_transfer",
            role="style",
            policy_asked="FIFO",
            policy_granted="FIFO",
            priority_granted=50,
            drop_causes=["superseded"],
            drop_counts=[3],
        )
    )


def one_detection(number: int) -> Detection2DArray:
    found = Detection2D()
    found.bbox.center.position.x, found.bbox.center.position.y = 50.0, 40.0
    found.bbox.size_x, found.bbox.size_y = 20.0, 10.0
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = "cat", 0.5
    found.results.append(hypothesis)
    return Detection2DArray(header=header(number), detections=[found])


def set_parameter(node: Node, target: str, name: str, value: object) -> None:
    client = AsyncParameterClient(node, target)
    assert client.wait_for_services(PATIENCE)
    future = client.set_parameters([Parameter(name, value=value)])
    rclpy.spin_until_future_complete(node, future, timeout_sec=PATIENCE)
    assert future.result().results[0].successful


@pytest.fixture
def recording(node: Node, tmp_path: Path) -> Path:
    """A recording made by the recorder process of what this process published."""
    path = tmp_path / "run.mcap"
    command = [sys.executable, "-m", "muon_ad_ros.recorder", "--ros-args", "-p", f"output:={path}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        set_parameter(node, "recorder", "measuring", True)
        publish_joint_task(node)
        set_parameter(node, "recorder", "measuring", False)
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return path


def test_what_was_published_is_read_back(recording: Path) -> None:
    with RecordingReader(recording) as reader:
        rows: JointRecording = reader.read()
        pairs = list(frame_pairs(reader))
        found = list(reader.detections())
    keys = [(1000 * 10**9 + number * 33_000_000, "camera_color_optical_frame") for number in range(FRAMES)]

    assert {timing.key: timing.total_ms for timing in rows.style_timings} == {
        key: pytest.approx(10.0 + number) for number, key in enumerate(keys)
    }
    assert set(rows.frames) == set(keys)
    assert set(rows.stylized) <= set(keys) and len(rows.stylized) >= FRAMES - 2
    assert set(rows.detections) == set(keys)

    status = rows.statuses[-1]
    assert (status.node, status.granted, status.drops) == ("/style_transfer", "FIFO 50", {"superseded": 3})
    marks = [change for change in rows.changes if change.parameter == "measuring"]
    assert [(mark.node, mark.value) for mark in marks] == [("/recorder", True), ("/recorder", False)]
    assert isinstance(marks[0], Change) and rows.window() is not None

    assert len(pairs) >= FRAMES // 3  # the camera's pictures are thinned
    for pair in pairs:
        number = keys.index(pair.key)
        assert abs(pair.color.astype(int) - picture(number)).mean() < 3.0
        assert abs(pair.stylized.astype(int) - (255 - picture(number))).mean() < 3.0

    key, detections, classes = found[0]
    assert key == keys[0]
    assert [classes[label] for label in detections.labels] == ["cat"]
    assert detections.boxes.tolist() == [[40.0, 35.0, 60.0, 45.0]]


def test_the_file_carries_its_definitions_and_plain_jpeg(recording: Path) -> None:
    from rosbags.highlevel import AnyReader

    with AnyReader([recording]) as reader:
        topics = {connection.topic: connection for connection in reader.connections}
        assert "uint64[] drop_counts" in topics["/style_transfer/status"].msgdef.data
        compressed = topics["/stylized/image_raw/compressed"]
        assert compressed.msgtype == "sensor_msgs/msg/CompressedImage"
        _, _, data = next(reader.messages([compressed]))
        message = reader.deserialize(data, compressed.msgtype)
    assert "jpeg" in message.format
    assert cv2.imdecode(message.data, cv2.IMREAD_COLOR).shape == (HEIGHT, WIDTH, 3)


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "precious.mcap"
    path.write_bytes(b"precious")
    command = [sys.executable, "-m", "muon_ad_ros.recorder", "--ros-args", "-p", f"output:={path}"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 2
    assert "exists already" in process.stdout + process.stderr
    assert path.read_bytes() == b"precious"


def test_a_folder_that_cannot_be_made_ends_the_recorder_with_one_sentence() -> None:
    command = [sys.executable, "-m", "muon_ad_ros.recorder", "--ros-args", "-p", "output:=/dev/null/run.mcap"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 2
    assert "cannot be written" in process.stdout + process.stderr
    assert "Traceback" not in process.stdout + process.stderr
