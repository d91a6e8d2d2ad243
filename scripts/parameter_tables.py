#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print docs/parameters.md: every parameter of every node, as the nodes declare it.

. ./env.sh && python scripts/parameter_tables.py > docs/parameters.md

With --readme it prints the README's table instead: what one tunes while style transfer and detection run.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
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
    "live_view": "LiveView",
    "recorder": "Recorder",
}
TUNED = ("style_transfer", "detector")  # the nodes whose live parameters the README shows
NOT_FOR_PEOPLE = "set by the scheduler"
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readme", action="store_true", help="print the README's table instead")
    readme = parser.parse_args().readme
    rclpy.init(args=["--ros-args", "-p", "autostart:=false"])
    if readme:
        rows = [cells for name in TUNED for cells in tuned_rows(name)]
        print(markdown(("node", "parameter", "default", "range", "meaning"), rows))
    else:
        print(HEAD)
        for name in NODES:
            columns = ("parameter", "default", "range", "live", "meaning")
            print(f"## {name}", "", markdown(columns, [row(*entry) for entry in declared(name)]), "", sep="\n")
    rclpy.shutdown()


def declared(name: str) -> list[tuple[Parameter, ParameterDescriptor]]:
    """The parameters of one node."""
    node: ManagedNode = getattr(importlib.import_module(f"muon_ad_ros.{name}"), NODES[name])()
    names = sorted(entry for entry in node.get_parameters_by_prefix("") if not entry.startswith(LEFT_OUT))
    entries = list(zip(node.get_parameters(names), node.describe_parameters(names)))
    node.destroy_node()
    return entries


def tuned_rows(name: str) -> list[list[str]]:
    """The rows of a node's live parameters, without those that are the scheduler's."""
    rows = [row(*entry) for entry in declared(name) if not entry[0].name.startswith("scheduling.")]
    tuned = [cells for cells in rows if cells[3] == "yes" and NOT_FOR_PEOPLE not in cells[4]]
    return [[f"`{name}`", *cells[:3], cells[4]] for cells in tuned]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {' | '.join(cells)} |" for cells in rows)])


def row(parameter: Parameter, descriptor: ParameterDescriptor) -> list[str]:
    """One parameter as the cells of a table row."""
    constraints = [text for text in descriptor.additional_constraints.split("; ") if text]
    fixed = [text.removeprefix(FIXED) for text in constraints if text.startswith(FIXED)]
    ranges = [f"{span.from_value:g} to {span.to_value:g}" for span in descriptor.floating_point_range]
    ranges += [f"{span.from_value} to {span.to_value}" for span in descriptor.integer_range]
    ranges += [text for text in constraints if not text.startswith(FIXED)]
    live = fixed[0] if fixed else "yes"
    return [f"`{parameter.name}`", default(parameter.value), "; ".join(ranges), live, descriptor.description]


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
