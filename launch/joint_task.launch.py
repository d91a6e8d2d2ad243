# SPDX-License-Identifier: Apache-2.0
"""The joint task: a camera in, the stylised picture and detections out.

ros2 launch muon_ad_ros joint_task.launch.py source:=clip.mp4 style:=starry_night
"""

import os

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from muon_ad_ros.bringup import LAUNCH_ARGUMENTS, PACKAGE, joint_task, parameter_file
from muon_ad_ros.environment import PROFILE_VARIABLES, apply_dds_profile


def start_nodes(context: LaunchContext) -> list[Node]:
    """One launch_ros action for every row of the node table."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in LAUNCH_ARGUMENTS}
    common = {name: given[name].lower() == "true" for name in ("use_sim_time", "autostart")}
    view = given["view"].lower() == "true"
    return [
        Node(
            package=PACKAGE,
            executable=spec.executable,
            name=spec.name,
            namespace=given["namespace"],
            parameters=[given["params_file"] or str(parameter_file("joint_task")), {**common, **spec.parameters}],
            remappings=list(spec.remappings.items()),
            arguments=["--ros-args", "--log-level", given["log_level"]],
            respawn=given["use_respawn"].lower() == "true",
            respawn_delay=2.0,
            output="screen",
        )
        for spec in joint_task(given["source"], given["style"], common["use_sim_time"], view)
    ]


def generate_launch_description() -> LaunchDescription:
    environment = dict(os.environ)
    apply_dds_profile(environment)
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
                for argument in LAUNCH_ARGUMENTS
            ),
            *(SetEnvironmentVariable(name, environment[name]) for name in PROFILE_VARIABLES),
            OpaqueFunction(function=start_nodes),
        ]
    )
