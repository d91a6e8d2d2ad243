#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print docs/parameters.md: every parameter of every node, as the nodes declare it.

. ./env.sh && python scripts/parameter_tables.py > docs/parameters.md
"""

from __future__ import annotations

import importlib
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.parameter import Parameter

from muon_ad_ros.managed import ManagedNode

NODES = {
    "style_transfer": "StyleTransfer",
    "detector": "DetectorNode",
    "scheduler": "Scheduler",
    "scene_camera": "SceneCamera",
    "video_camera": "VideoCamera",
    "bag_player": "BagPlayer",
    "realsense_camera": "RealSenseNode",
    "csi_camera": "CsiCamera",
    "frame_sync": "FrameSync",
    "clock_monitor": "ClockMonitor",
    "recorder": "Recorder",
}
# Declared by rclpy, and autostart, which is off while this runs.
LEFT_OUT = ("qos_overrides.", "use_sim_time", "start_type_description_service", "autostart")
HEAD = """\
# Parameters

Made from the nodes' own declarations by `python scripts/parameter_tables.py > docs/parameters.md`. "Live" parameters
change while frames flow (`ros2 param set /style_transfer strength 0.5`); the others say what to do instead. A value
outside its range is refused with a reason. `ros2 param describe NODE PARAMETER` tells the same. Image topics take QoS
overrides, such as `qos_overrides./color/image_raw.subscription.reliability`, as in every ROS 2 node that offers them.
Every node also has `autostart` (true): configure and activate the node as soon as it runs.
"""
FIXED = "not while configured: "


def main() -> None:
    print(HEAD)
    rclpy.init(args=["--ros-args", "-p", "autostart:=false"])
    for module, class_name in NODES.items():
        node_class = getattr(importlib.import_module(f"muon_ad_ros.{module}"), class_name)
        print(table(module, node_class()))
    rclpy.shutdown()


def table(name: str, node: ManagedNode) -> str:
    """One node's parameters as a Markdown table."""
    lines = [f"## {name}", "", "| parameter | default | range | live | meaning |", "|---|---|---|---|---|"]
    declared = sorted(entry for entry in node.get_parameters_by_prefix("") if not entry.startswith(LEFT_OUT))
    for parameter, descriptor in zip(node.get_parameters(declared), node.describe_parameters(declared)):
        lines.append(row(parameter, descriptor))
    node.destroy_node()
    return "\n".join([*lines, ""])


def row(parameter: Parameter, descriptor: ParameterDescriptor) -> str:
    """One parameter as a table row."""
    constraints = [text for text in descriptor.additional_constraints.split("; ") if text]
    fixed = [text.removeprefix(FIXED) for text in constraints if text.startswith(FIXED)]
    ranges = [f"{span.from_value:g} to {span.to_value:g}" for span in descriptor.floating_point_range]
    ranges += [f"{span.from_value} to {span.to_value}" for span in descriptor.integer_range]
    ranges += [text for text in constraints if not text.startswith(FIXED)]
    cells = [f"`{parameter.name}`", default(parameter.value), "; ".join(ranges), fixed[0] if fixed else "yes"]
    return f"| {' | '.join([*cells, descriptor.description])} |"


def default(value: Any) -> str:
    """A default value as it is written in a parameter file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value) if isinstance(value, (int, str)) else ", ".join(map(str, value))
    return text or "(empty)"


if __name__ == "__main__":
    main()
