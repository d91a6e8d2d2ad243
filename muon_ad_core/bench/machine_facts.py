# SPDX-License-Identifier: Apache-2.0
"""What a benchmark ran on: processor, memory, system and versions."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from muon_ad_core import __version__
from muon_ad_core.machine import Machine

PACKAGES = ("numpy", "opencv-python-headless", "openvino", "onnxruntime")
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "amx_int8": "AMX", "asimd": "NEON"}


def describe_machine(environment: Mapping[str, str]) -> dict[str, Any]:
    """Facts for a report, by name; `environment` is the one the measured processes run in."""
    machine = Machine(environment=environment)
    flags = machine.processor_flags()
    name = re.search(r"^model name\s*:\s*(.+)$", machine.read("/proc/cpuinfo"), re.MULTILINE)
    model = machine.read("/proc/device-tree/model").strip("\0")  # boards such as a Jetson
    memory = re.search(r"^MemTotal:\s*(\d+) kB", machine.read("/proc/meminfo"), re.MULTILINE)
    ros = machine.ros()
    facts = {
        "processor": model or (name[1] if name else platform.machine()),
        "processors": os.cpu_count() or 1,
        "instructions": ", ".join(label for flag, label in INSTRUCTIONS.items() if flag in flags),
        "memory_gb": round(int(memory[1]) * 1024 / 1e9, 1) if memory else None,
        "kernel": platform.release(),
        "system": _system_name(machine.read("/etc/os-release")),
        "python": platform.python_version(),
        "ros": f"{ros.distro} ({'Python wheels' if ros.kind == 'wheels' else ros.prefix})",
        "muon_ad": __version__,
    }
    return facts | {package: _version(package) for package in PACKAGES if _version(package)}


def _system_name(os_release: str) -> str:
    name = re.search(r'^PRETTY_NAME="?([^"\n]+)', os_release, re.MULTILINE)
    return name[1] if name else platform.system()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
