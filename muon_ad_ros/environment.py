# SPDX-License-Identifier: Apache-2.0
"""The environment ROS processes of this project run in: ROS, the built packages, and the DDS profile for images."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from muon_ad_core.errors import UserError
from muon_ad_core.machine import CHECKOUT, PROFILE_VARIABLES, Machine

PUBLICATION_MODE = "RMW_FASTRTPS_PUBLICATION_MODE"


def dds_profile() -> Path:
    """The shipped Fast DDS profile with buffers large enough for images.

    Raises:
        UserError: the file is neither in the source tree nor installed.
    """
    for folder in [CHECKOUT, *(prefix / "share/muon_ad_ros" for prefix in Machine().ament_prefixes())]:
        profile = folder / "config/fastdds_large_images.xml"
        if profile.is_file():
            return profile
    raise UserError("config/fastdds_large_images.xml is not installed: build muon_ad_ros again with colcon")


def apply_dds_profile(environment: MutableMapping[str, str] = os.environ) -> None:
    """Put the shipped DDS profile in force, unless the user chose one; call it before ``rclpy.init``.

    Fast DDS then also sends from a thread of its own, so that a slow subscriber cannot hold up who publishes.
    """
    chosen = Machine(environment=environment).dds_profile() or str(dds_profile())
    for name in PROFILE_VARIABLES:
        environment.setdefault(name, chosen)
    environment.setdefault(PUBLICATION_MODE, "ASYNCHRONOUS")


def child_environment() -> dict[str, str]:
    """Environment variables for a ROS child process, also when nothing was sourced before this process started.

    Raises:
        UserError: the message packages are not built, or the ROS they were built with is not sourced.
    """
    environment = dict(os.environ)
    if not _has_ros(environment):
        environment = _sourced_environment()
    apply_dds_profile(environment)
    return environment


def _has_ros(environment: Mapping[str, str]) -> bool:
    machine = Machine(environment=environment)
    return bool(machine.sourced_package("rclpy") and machine.sourced_package("muon_ad_msgs"))


def _sourced_environment() -> dict[str, str]:
    """The variables after sourcing the checkout's env.sh."""
    script = CHECKOUT / "env.sh"
    if not script.is_file():
        raise UserError("muon_ad_msgs is not in this environment: source the workspace it was built in")
    command = ["bash", "-c", '. "$0" && env -0', str(script)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    environment = dict(entry.split("=", 1) for entry in result.stdout.split("\0") if "=" in entry)
    if not _has_ros(environment):
        said = result.stderr.strip().splitlines()
        raise UserError(said[-1] if said else f"the ROS packages are not built: run 'make setup' in {CHECKOUT}")
    return environment
