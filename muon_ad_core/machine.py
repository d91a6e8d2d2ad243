# SPDX-License-Identifier: Apache-2.0
"""What this machine is and has, as far as set-up, doctor and runtimes need to know. Standard library only.

Runs under the bare ``python3`` of a fresh machine, also one too old for the rest of the project (3.7 and later).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
# Fast DDS 2 (Humble, Jazzy) and 3 (Kilted) read the profile from different variables.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PACKAGE_INDEX = "share/ament_index/resource_index/packages"


class Ros(NamedTuple):
    """The ROS a process can use: ``kind`` is "sourced", "wheels" (in the checkout's .venv) or "none"."""

    kind: str
    prefix: Path | None = None
    distro: str = ""


class Machine:
    """Read-only questions to the operating system; tests answer them from tables instead."""

    def __init__(self, checkout: Path = CHECKOUT, environment: Mapping[str, str] = os.environ) -> None:
        self.checkout = checkout
        self.environment = environment
        self.python_version: tuple[int, int] = sys.version_info[:2]
        self.python = sys.executable
        self.architecture = platform.machine()

    def is_checkout(self) -> bool:
        """Whether this runs from the project's source tree, not from an installation in another workspace."""
        return self.exists(self.checkout / "Makefile")

    def which(self, program: str) -> str | None:
        """Path of an executable on PATH."""
        return shutil.which(program)

    def has_module(self, name: str) -> bool:
        """Whether this Python finds the top-level module ``name``; it is not imported."""
        return importlib.util.find_spec(name) is not None

    def python_header(self) -> Path:
        """Where Python.h of this Python belongs."""
        return Path(sysconfig.get_path("include"), "Python.h")

    def exists(self, path: Path | str) -> bool:
        return Path(path).exists()

    def writable(self, path: Path | str) -> bool:
        """Whether this user may write to the file or socket."""
        return os.access(path, os.W_OK)

    def read(self, path: Path | str) -> str:
        """Text of a file; empty when it cannot be read."""
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return ""

    def processor_flags(self) -> set[str]:
        """What the kernel says that the processor has, such as avx2 or asimd; empty where it says nothing."""
        return set(self.read("/proc/cpuinfo").split())

    def output(self, command: Sequence[str]) -> str:
        """Standard output of a short command; empty when it cannot run or fails."""
        try:
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
        return result.stdout.decode(errors="replace")

    def disk(self, path: Path | str) -> tuple[int, int]:
        """(total, free) bytes of the file system that holds ``path``; zeros when there is none."""
        try:
            usage = shutil.disk_usage(path)
        except OSError:
            return 0, 0
        return usage.total, usage.free

    def real_time_limit(self) -> int:
        """Highest real-time priority RLIMIT_RTPRIO allows an unprivileged process; 99 when unlimited."""
        soft = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
        return 99 if soft == resource.RLIM_INFINITY else soft

    def ament_prefixes(self) -> list[Path]:
        """The folders of AMENT_PREFIX_PATH."""
        return [Path(entry) for entry in self.environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]

    def sourced_package(self, name: str) -> Path | None:
        """The first prefix of AMENT_PREFIX_PATH that holds ROS package ``name``."""
        prefixes = (prefix for prefix in self.ament_prefixes() if self.exists(prefix / PACKAGE_INDEX / name))
        return next(prefixes, None)

    def dds_profile(self) -> str:
        """The Fast DDS profile file the environment names; empty when it names none."""
        return next((self.environment[name] for name in PROFILE_VARIABLES if self.environment.get(name)), "")

    def ros(self) -> Ros:
        """The ROS in use: an installed one that is sourced wins over the wheels in the checkout's .venv."""
        venv = self.checkout / ".venv"
        sourced = self.sourced_package("rclpy")
        if sourced and not self.exists(sourced / "pyvenv.cfg"):
            return Ros("sourced", sourced, self.environment.get("ROS_DISTRO", ""))
        if self.exists(venv / PACKAGE_INDEX / "rclpy"):
            return Ros("wheels", venv, "jazzy")
        return Ros("none")
