# SPDX-License-Identifier: Apache-2.0
"""The environment of child processes, from a bare shell and from a sourced one."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from muon_ad_core.machine import CHECKOUT
from muon_ad_ros.environment import (
    PROFILE_VARIABLES,
    PUBLICATION_MODE,
    apply_dds_profile,
    child_environment,
    dds_profile,
)

IMPORT_ALL = "import rclpy, muon_ad_msgs.msg, vision_msgs.msg, muon_ad_ros; print('imported')"


def test_a_child_of_a_bare_process_finds_every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (CHECKOUT / "install").is_dir():
        pytest.skip("this checkout was not set up by make")
    if not (CHECKOUT / ".venv/share/rclpy").is_dir():
        pytest.skip("ROS is an installed one here, which has to be sourced")
    for name in ("AMENT_PREFIX_PATH", "PYTHONPATH", "LD_LIBRARY_PATH", *PROFILE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    environment = child_environment()
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    assert (result.stdout, result.stderr) == ("imported\n", "")
    assert environment[PROFILE_VARIABLES[0]] == str(dds_profile())


def test_in_a_sourced_shell_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAVOURITE_COLOUR", "green")
    assert os.environ.items() <= child_environment().items()


def test_a_profile_the_user_chose_stays_in_force() -> None:
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}
    apply_dds_profile(environment)
    assert {name: environment[name] for name in PROFILE_VARIABLES} == dict.fromkeys(PROFILE_VARIABLES, "/mine.xml")


def test_nodes_send_from_a_thread_of_its_own_unless_the_user_chose_otherwise() -> None:
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": "/mine.xml"}
    apply_dds_profile(environment)
    assert environment[PUBLICATION_MODE] == "ASYNCHRONOUS"
    chosen = {PUBLICATION_MODE: "SYNCHRONOUS"}
    apply_dds_profile(chosen)
    assert chosen[PUBLICATION_MODE] == "SYNCHRONOUS"


def test_the_profile_has_room_for_an_image() -> None:
    namespace = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    root = ElementTree.parse(dds_profile()).getroot()
    sizes = [int(entry.text or 0) for entry in root.iterfind(".//dds:segment_size", namespace)]
    assert sizes and min(sizes) > 4 * 640 * 480 * 3
