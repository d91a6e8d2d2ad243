# SPDX-License-Identifier: Apache-2.0
"""Common to all tests: a ROS domain of their own, and the mark of those that need ROS."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest

from muon_ad_ros.environment import apply_dds_profile

ROS_TESTS = Path(__file__).parent / "ros"
HAS_ROS = all(importlib.util.find_spec(name) for name in ("rclpy", "muon_ad_msgs", "vision_msgs"))

# Nodes of the tests must not meet the user's own nodes, nor those of another test run.
os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
apply_dds_profile()
# PyTorch's threads wait for one another in a loop: beside another process, two take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# How long an example takes says what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_report_header() -> str:
    domain = f"ROS_DOMAIN_ID {os.environ['ROS_DOMAIN_ID']}"
    return f"ROS: {domain}" if HAS_ROS else "ROS: not found, test/ros is left out (run: . ./env.sh, or make test)"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests in test/ros import ROS packages at their top."""
    return True if not HAS_ROS and collection_path == ROS_TESTS else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ROS_TESTS in item.path.parents:
            item.add_marker(pytest.mark.ros)
