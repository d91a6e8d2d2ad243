# SPDX-License-Identifier: Apache-2.0
"""The files for Foxglove and RViz name topics, types and fields that the nodes publish."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from sensor_msgs.msg import Image

from muon_ad_ros.detector import DetectorNode
from muon_ad_ros.scene_camera import SceneCamera
from muon_ad_ros.scheduler import Scheduler
from muon_ad_ros.style_transfer import StyleTransfer

CONFIG = Path(__file__).resolve().parents[2] / "config"
FOXGLOVE = json.loads((CONFIG / "joint_task.foxglove.json").read_text())
RVIZ = yaml.safe_load((CONFIG / "joint_task.rviz").read_text())
FOXGLOVE_TEXT = json.dumps(FOXGLOVE["configById"])


@pytest.fixture(scope="module")
def published() -> Iterator[dict[str, Any]]:
    """Message type of every topic the joint task's nodes publish, under their names in the task."""
    names = ["-r", "scene_camera:__node:=camera"]
    rclpy.init(args=["--ros-args", "-p", "autostart:=false", *names])
    nodes = [node_class() for node_class in (SceneCamera, StyleTransfer, DetectorNode, Scheduler)]
    nodes[0].trigger_configure()  # a camera makes its publishers once it knows its source
    yield {publisher.topic_name: publisher.msg_type for node in nodes for publisher in node.publishers}
    for node in nodes:
        node.cleanup()
        node.destroy_node()
    rclpy.shutdown()


def topics_in(text: str) -> set[str]:
    """What looks like a topic, without the path to a field."""
    return set(re.findall(r'"(/[a-z0-9_/]+)[".]', text))


def test_foxglove_shows_topics_that_are_published(published: dict[str, Any]) -> None:
    topics = topics_in(FOXGLOVE_TEXT)
    assert len(topics) >= 10
    assert topics <= published.keys()
    for panel in (panel for name, panel in FOXGLOVE["configById"].items() if name.startswith("Image!")):
        assert published[panel["imageMode"]["imageTopic"]] is Image


def test_foxglove_plots_fields_that_the_messages_have(published: dict[str, Any]) -> None:
    paths = re.findall(r'"(/[a-z0-9_/]+)\.([a-z0-9_]+)"', FOXGLOVE_TEXT)
    assert len(paths) >= 6
    for topic, field in paths:
        assert field in published[topic].get_fields_and_field_types(), f"{topic} has no field {field}"


def test_foxglove_lays_out_every_panel_once() -> None:
    def panels(layout: Any) -> list[str]:
        return [layout] if isinstance(layout, str) else panels(layout["first"]) + panels(layout["second"])

    assert sorted(panels(FOXGLOVE["layout"])) == sorted(FOXGLOVE["configById"])


def test_rviz_shows_topics_that_are_published(published: dict[str, Any]) -> None:
    displays = [display for display in RVIZ["Visualization Manager"]["Displays"] if "Topic" in display]
    assert len(displays) == 5
    for display in displays:
        message_type = published[display["Topic"]["Value"]].__name__
        assert display["Class"].endswith(f"/{message_type}")
