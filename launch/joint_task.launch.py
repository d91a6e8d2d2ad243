# SPDX-License-Identifier: Apache-2.0
"""The joint task: a camera in, the stylised picture and detections out.

ros2 launch muon_ad_ros joint_task.launch.py source:=clip.mp4 style:=starry_night
"""

from launch import LaunchContext, LaunchDescription
from launch_ros.actions import Node

from muon_ad_ros.bringup import LAUNCH_ARGUMENTS, joint_task
from muon_ad_ros.launching import describe, given_arguments, is_true, node_actions


def start_nodes(context: LaunchContext) -> list[Node]:
    given = given_arguments(context, LAUNCH_ARGUMENTS)
    table = joint_task(given["source"], given["style"], is_true(given["use_sim_time"]), is_true(given["view"]))
    return node_actions("joint_task", table, given)


def generate_launch_description() -> LaunchDescription:
    return describe(LAUNCH_ARGUMENTS, start_nodes)
