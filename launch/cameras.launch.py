# SPDX-License-Identifier: Apache-2.0
"""Cameras: one with depth, a second one beside it, and the pairing of their frames.

ros2 launch muon_ad_ros cameras.launch.py source:=realsense csi:=nvargus
"""

from launch import LaunchContext, LaunchDescription
from launch_ros.actions import Node

from muon_ad_ros.bringup import CAMERAS_ARGUMENTS, cameras
from muon_ad_ros.launching import describe, given_arguments, is_true, node_actions


def start_nodes(context: LaunchContext) -> list[Node]:
    given = given_arguments(context, CAMERAS_ARGUMENTS)
    table = cameras(given["source"], given["csi"], is_true(given["require_clock_locked"]), given["clock"].lower())
    return node_actions("cameras", table, given)


def generate_launch_description() -> LaunchDescription:
    return describe(CAMERAS_ARGUMENTS, start_nodes)
