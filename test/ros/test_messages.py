# SPDX-License-Identifier: Apache-2.0
"""The interface packages: standard fields, and real messages between two processes."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import time
from types import ModuleType

import pytest
import rclpy
from muon_ad_msgs.msg import FrameTiming, SchedulerStatus
from rclpy.executors import SingleThreadedExecutor
from vision_msgs.msg import Detection2DArray

from muon_ad_core.machine import CHECKOUT
from muon_ad_ros.environment import child_environment

TALKER = """
import time, rclpy
from muon_ad_msgs.msg import FrameTiming, SchedulerStatus, WorkerStatus
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

rclpy.init()
node = rclpy.create_node("talker")
timings = node.create_publisher(FrameTiming, "timing", 10)
statuses = node.create_publisher(SchedulerStatus, "status", 10)
detections = node.create_publisher(Detection2DArray, "detections", 10)
timing = FrameTiming(worker="/style_transfer", total_ms=12.5, deadline_missed=True, sequence=2**40)
timing.header.frame_id = "camera_color_optical_frame"
worker = WorkerStatus(name="/detector", affinity_granted=[0, 3], drop_causes=["stale"], drop_counts=[2**33])
hypothesis = ObjectHypothesisWithPose()
hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = "person", 0.75
detection = Detection2D(results=[hypothesis], id="7")
detection.bbox.center.position.x = 320.5
while rclpy.ok():
    timings.publish(timing)
    statuses.publish(SchedulerStatus(workers=[worker], decisions=["level fast"], summary="one worker"))
    detections.publish(Detection2DArray(detections=[detection]))
    time.sleep(0.05)
"""


def generator() -> ModuleType:
    """The script that writes vision_msgs, as a module."""
    spec = importlib.util.spec_from_file_location("generate_vision_msgs", CHECKOUT / "scripts/generate_vision_msgs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_messages_arrive_whole_from_another_process() -> None:
    received: dict[str, object] = {}
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    topics = {"timing": FrameTiming, "status": SchedulerStatus, "detections": Detection2DArray}
    for topic, kind in topics.items():
        node.create_subscription(kind, topic, lambda message, topic=topic: received.setdefault(topic, message), 10)
    talker = subprocess.Popen([sys.executable, "-c", TALKER], env=child_environment())
    try:
        deadline = time.monotonic() + 60
        while len(received) < len(topics) and time.monotonic() < deadline and talker.poll() is None:
            executor.spin_once(timeout_sec=0.2)
    finally:
        talker.kill()
        talker.wait()
        node.destroy_node()
        context.shutdown()

    assert received.keys() == topics.keys()
    timing, status, detections = (received[topic] for topic in topics)
    assert (timing.header.frame_id, timing.total_ms) == ("camera_color_optical_frame", 12.5)
    assert (timing.deadline_missed, timing.sequence) == (True, 2**40)
    worker = status.workers[0]
    assert (list(worker.affinity_granted), list(worker.drop_counts)) == ([0, 3], [2**33])
    detection = detections.detections[0]
    assert (detection.results[0].hypothesis.class_id, detection.bbox.center.position.x) == ("person", 320.5)


@pytest.mark.parametrize("name", generator().MESSAGES)
def test_vision_msgs_have_the_fields_of_the_generator(name: str) -> None:
    """Also with a vision_msgs of an installed ROS: then it checks the generator against the real package."""
    actual = getattr(importlib.import_module("vision_msgs.msg"), name).get_fields_and_field_types()
    expected = {}
    for field in generator().MESSAGES[name]:
        kind, field_name = field.split()
        element = {"float64": "double", "float32": "float"}.get(kind.removesuffix("[]"), kind.removesuffix("[]"))
        if element[0].isupper():
            element = f"vision_msgs/{element}"
        expected[field_name] = f"sequence<{element}>" if kind.endswith("[]") else element
    assert actual == expected


def test_every_field_of_our_messages_is_lower_snake_case() -> None:
    module = importlib.import_module("muon_ad_msgs.msg")
    kinds = [kind for kind in vars(module).values() if hasattr(kind, "get_fields_and_field_types")]
    names = [name for kind in kinds for name in kind.get_fields_and_field_types()]
    assert len(kinds) >= 3 and all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
