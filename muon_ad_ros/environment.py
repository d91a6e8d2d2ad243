# SPDX-License-Identifier: Apache-2.0
"""The environment ROS processes of this project run in: ROS, the built packages, and the DDS profile for images."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from muon_ad_core.errors import UserError

SOURCE_TREE = Path(__file__).resolve().parents[1]
# Fast DDS 2 (Humble, Jazzy) and 3 (Kilted) read the profile from different variables.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def has_ros_package(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the ROS package ``name`` is found along AMENT_PREFIX_PATH of ``environment``."""
    prefixes = filter(None, environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    return any(Path(prefix, "share/ament_index/resource_index/packages", name).is_file() for prefix in prefixes)


def dds_profile() -> Path:
    """The shipped Fast DDS profile with buffers large enough for images.

    Raises:
        UserError: the file is neither in the source tree nor installed.
    """
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    folders = [SOURCE_TREE, *(Path(prefix, "share/muon_ad_ros") for prefix in prefixes)]
    for folder in folders:
        profile = folder / "config/fastdds_large_images.xml"
        if profile.is_file():
            return profile
    raise UserError("config/fastdds_large_images.xml is not installed: build muon_ad_ros again with colcon")


def apply_dds_profile(environment: MutableMapping[str, str] = os.environ) -> None:
    """Put the shipped DDS profile in force, unless the user chose one; call it before ``rclpy.init``."""
    chosen = next((environment[name] for name in PROFILE_VARIABLES if environment.get(name)), "")
    for name in PROFILE_VARIABLES:
        environment.setdefault(name, chosen or str(dds_profile()))


def child_environment() -> dict[str, str]:
    """Environment variables for a ROS child process, also when nothing was sourced before this process started.

    Raises:
        UserError: the message packages are not built, or the ROS they were built with is not sourced.
    """
    environment = dict(os.environ)
    if not (has_ros_package("muon_ad_msgs") and has_ros_package("rclpy")):
        environment = _sourced_environment()
    apply_dds_profile(environment)
    return environment


def _sourced_environment() -> dict[str, str]:
    """The variables after sourcing the checkout's env.sh."""
    script = SOURCE_TREE / "env.sh"
    if not script.is_file():
        raise UserError("muon_ad_msgs is not in this environment: source the workspace it was built in")
    command = ["bash", "-c", '. "$0" && env -0', str(script)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    environment = dict(entry.split("=", 1) for entry in result.stdout.split("\0") if "=" in entry)
    if not (has_ros_package("muon_ad_msgs", environment) and has_ros_package("rclpy", environment)):
        said = result.stderr.strip().splitlines()
        raise UserError(said[-1] if said else f"the ROS packages are not built: run 'make setup' in {SOURCE_TREE}")
    return environment
