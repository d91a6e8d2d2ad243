# SPDX-License-Identifier: Apache-2.0
"""Launch descriptions of node tables; only the launch files import this, because it needs launch_ros."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from .bringup import PACKAGE, LaunchArgument, NodeSpec, parameter_file
from .environment import PROFILE_VARIABLES, apply_dds_profile

Given = Mapping[str, str]
"""Launch arguments as given, by name."""


def given_arguments(context: LaunchContext, arguments: Sequence[LaunchArgument]) -> Given:
    """The values of the launch arguments."""
    return {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in arguments}


def is_true(text: str) -> bool:
    """A launch argument that is true or false."""
    return text.lower() == "true"


def node_actions(task: str, specs: Sequence[NodeSpec], given: Given) -> list[Node]:
    """One launch_ros action for every row of the node table."""
    common = {name: is_true(given[name]) for name in ("use_sim_time", "autostart")}
    return [
        Node(
            package=PACKAGE,
            executable=spec.executable,
            name=spec.name,
            namespace=given["namespace"],
            parameters=[given["params_file"] or str(parameter_file(task)), {**common, **spec.parameters}],
            remappings=list(spec.remappings.items()),
            arguments=["--ros-args", "--log-level", given["log_level"]],
            respawn=is_true(given["use_respawn"]),
            respawn_delay=0.0,
            output="screen",
        )
        for spec in specs
    ]


def describe(
    arguments: Sequence[LaunchArgument], start_nodes: Callable[[LaunchContext], list[Node]]
) -> LaunchDescription:
    """A launch file that declares `arguments`, sets the DDS profile and starts nodes."""
    environment = dict(os.environ)
    apply_dds_profile(environment)
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
                for argument in arguments
            ),
            *(SetEnvironmentVariable(name, environment[name]) for name in PROFILE_VARIABLES),
            OpaqueFunction(function=start_nodes),
        ]
    )
