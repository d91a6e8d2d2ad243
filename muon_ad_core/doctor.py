# SPDX-License-Identifier: Apache-2.0
"""Checks of this machine: one line each, saying what is wrong and which command mends it. Standard library only.

``python3 -m muon_ad_core.doctor --essential`` runs under a bare Python, before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from muon_ad_core.machine import PACKAGE_INDEX, PROFILE_VARIABLES, Machine, Ros

OK, WARN, FAIL = "ok", "warn", "fail"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
SOCKET_BUFFER = 4 * 2**20  # bytes; what config/fastdds_large_images.xml asks for
SHARED_MEMORY = 256 * 2**20  # bytes; some ten processes with segments of 16 MiB
DISK_FULL, DISK_LOW = 2**30, 5 * 2**30  # bytes; the whole set-up with the training extras takes some 4 GiB
RUNTIME_MODULES = {  # module -> name on the package index
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "safetensors": "safetensors",
    "skimage": "scikit-image",
    "rosbags": "rosbags",
    "rich": "rich",
    "matplotlib": "matplotlib",
    "yaml": "pyyaml",
}
CPU_UNITS = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
PTP4L_SOCKETS = ("/var/run/ptp4lro", "/var/run/ptp4l")  # the first one is for every user, since linuxptp 4
CAP_SYS_NICE = 23  # bit number, linux/capability.h


class Finding(NamedTuple):
    """What one check found: ``level`` is OK, WARN or FAIL; ``packages`` are the Debian packages that mend it."""

    name: str
    level: str
    detail: str
    remedy: str = ""
    packages: tuple[str, ...] = ()


def _needs_packages(name: str, detail: str, *packages: str) -> Finding:
    return Finding(name, FAIL, detail, "sudo apt-get install -y " + " ".join(packages), packages)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def check_python(machine: Machine) -> Finding:
    """The version, and what Debian ships apart from Python itself: venv and the C headers."""
    version = _dotted(machine.python_version)
    where = f"Python {version} ({machine.python})"
    if machine.python_version < OLDEST_PYTHON:
        remedy = "install Python 3.10 or newer, then: make PYTHON=python3.10"
        return Finding("python", FAIL, f"{where} is too old", remedy)
    if machine.python_version > NEWEST_PYTHON and machine.ros().kind != "sourced":
        supported = f"the ROS wheels exist for {_dotted(OLDEST_PYTHON)} to {_dotted(NEWEST_PYTHON)}"
        return Finding("python", FAIL, f"{where} is too new, {supported}", "make PYTHON=python3.12")
    missing = {}
    if not machine.has_module("ensurepip"):
        missing["venv"] = "ensurepip"
    if not machine.exists(machine.python_header()):
        missing["dev"] = str(machine.python_header())
    if missing:
        packages = [f"python{version}-{part}" for part in missing]
        return _needs_packages("python", f"{where} lacks {' and '.join(missing.values())}", *packages)
    return Finding("python", OK, where)


def check_compiler(machine: Machine) -> Finding:
    """A C++ compiler and make, for the message packages."""
    missing = [program for program in ("g++", "make") if not machine.which(program)]
    if missing:
        return _needs_packages("compiler", f"{' and '.join(missing)} not found; messages cannot be built", *missing)
    return Finding("compiler", OK, f"{machine.which('g++')}")


def check_cmake(machine: Machine) -> Finding:
    path = machine.which("cmake")
    if not path:
        return _needs_packages("cmake", "cmake not found; messages cannot be built", "cmake")
    return Finding("cmake", OK, path)


def check_ros(machine: Machine) -> Finding:
    """A sourced ROS built for this Python, or a machine the ROS wheels exist for."""
    ros = machine.ros()
    if ros.kind == "sourced":
        return _check_sourced_ros(machine, ros)
    installed = [f"/opt/ros/{name}" for name in ("humble", "jazzy", "kilted") if machine.exists(f"/opt/ros/{name}")]
    if machine.architecture not in ("x86_64", "AMD64"):
        detail = f"no ROS is sourced, and for {machine.architecture} there are no ROS wheels"
        install = "sudo apt-get install ros-jazzy-ros-base (package source: docs.ros.org)"
        return Finding("ros", FAIL, detail, f". {installed[-1]}/setup.bash" if installed else install)
    if ros.kind == "wheels":
        return Finding("ros", OK, f"Jazzy from wheels in {ros.prefix}")
    if installed:
        detail = f"{installed[-1]} is installed but not sourced; set-up would take Jazzy from wheels"
        return Finding("ros", WARN, detail, f". {installed[-1]}/setup.bash")
    return Finding("ros", OK, "none is sourced; set-up takes Jazzy from wheels")


def _check_sourced_ros(machine: Machine, ros: Ros) -> Finding:
    version = _dotted(machine.python_version)
    where = f"{ros.distro or 'ROS'} sourced from {ros.prefix}"
    folders = (f"lib/python{version}/site-packages", f"local/lib/python{version}/dist-packages")
    if ros.prefix and not any(machine.exists(ros.prefix / folder / "rclpy") for folder in folders):
        return Finding("ros", FAIL, f"{where} is not for Python {version}", "make PYTHON=/usr/bin/python3")
    return Finding("ros", OK, where)


def check_messages(machine: Machine) -> Finding:
    """The interface packages the nodes import."""
    built = machine.checkout / "install"
    prefixes = {
        name: machine.sourced_package(name) or (built if machine.exists(built / PACKAGE_INDEX / name) else None)
        for name in ("muon_ad_msgs", "vision_msgs")
    }
    missing = [name for name, prefix in prefixes.items() if not prefix]
    if missing:
        remedy = "make setup" if machine.is_checkout() else "colcon build, then source install/setup.bash"
        return Finding("messages", FAIL, f"{' and '.join(missing)} not built", remedy)
    return Finding("messages", OK, ", ".join(f"{name} in {prefix}" for name, prefix in prefixes.items()))


def check_packages(machine: Machine) -> Finding:
    """The Python packages the nodes import."""
    missing = [name for name in RUNTIME_MODULES if not machine.has_module(name)]
    if missing:
        detail = f"{machine.python} does not find {', '.join(missing)}"
        install = f"{machine.python} -m pip install {' '.join(RUNTIME_MODULES[name] for name in missing)}"
        remedy = "make setup, then .venv/bin/muon-ad doctor" if machine.is_checkout() else install
        return Finding("packages", FAIL, detail, remedy)
    return Finding("packages", OK, "all run-time packages found")


def check_dds(machine: Machine) -> Finding:
    """The DDS implementation and, for Fast DDS, the profile with buffers for images."""
    implementation = machine.environment.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp"
    if "fastrtps" not in implementation:
        detail = f"{implementation}; the image profile is for Fast DDS, set that implementation's own buffers"
        return Finding("dds", WARN, detail, "unset RMW_IMPLEMENTATION")
    chosen = machine.dds_profile()
    if not chosen:
        detail = f"{implementation} without the image profile in this shell; other ROS tools lose large frames"
        prefix = machine.sourced_package("muon_ad_ros")
        export = f"export {PROFILE_VARIABLES[0]}={prefix}/share/muon_ad_ros/config/fastdds_large_images.xml"
        return Finding("dds", WARN, detail, export if prefix and not machine.is_checkout() else ". ./env.sh")
    if not machine.exists(chosen):
        detail = f"the profile {chosen} does not exist; Fast DDS falls back to buffers that lose large frames"
        return Finding("dds", WARN, detail, f"unset {' '.join(PROFILE_VARIABLES)}")
    return Finding("dds", OK, f"{implementation}, profile {chosen}")


def check_socket_buffers(machine: Machine) -> Finding:
    """The kernel's cap on socket buffers; matters for images between machines."""
    names = ("rmem_max", "wmem_max")
    sizes = {name: machine.read(f"/proc/sys/net/core/{name}").strip() for name in names}
    small = [name for name, size in sizes.items() if size.isdigit() and int(size) < SOCKET_BUFFER]
    found = ", ".join(f"net.core.{name} {size}" for name, size in sizes.items())
    if small:
        remedy = "sudo sysctl -w " + " ".join(f"net.core.{name}={SOCKET_BUFFER}" for name in names)
        return Finding("sockets", WARN, f"{found}: images between machines may be lost", remedy)
    if not all(sizes.values()):
        return Finding("sockets", WARN, "socket buffer limits cannot be read here", "sysctl net.core.rmem_max")
    return Finding("sockets", OK, found)


def check_shared_memory(machine: Machine) -> Finding:
    """/dev/shm carries images between processes of one machine; containers get 64 MiB by default."""
    total, free = machine.disk("/dev/shm")
    if free < SHARED_MEMORY:
        detail = f"/dev/shm has {free // 2**20} of {total // 2**20} MiB free; images between processes may be lost"
        return Finding("shared memory", WARN, detail, "sudo mount -o remount,size=1g /dev/shm (docker: --shm-size=1g)")
    return Finding("shared memory", OK, f"/dev/shm has {free // 2**20} MiB free")


def check_real_time(machine: Machine) -> Finding:
    """Whether SCHED_FIFO would be granted to the style worker."""
    status = dict(line.split(":", 1) for line in machine.read("/proc/self/status").splitlines() if ":" in line)
    capable = bool(int(status.get("CapEff", "0").strip(), 16) >> CAP_SYS_NICE & 1)
    limit = machine.real_time_limit()
    if not capable and limit < 50:
        line = f"{machine.environment.get('USER', '<user>')} - rtprio 90"
        remedy = f"echo '{line}' | sudo tee /etc/security/limits.d/muon-ad.conf, then log in again"
        return Finding("real time", WARN, f"SCHED_FIFO 50 is not permitted (rtprio limit {limit})", remedy)
    if machine.read("/proc/sys/kernel/sched_rt_runtime_us").strip() == "0":
        remedy = "sudo sysctl -w kernel.sched_rt_runtime_us=950000"
        return Finding("real time", WARN, "real-time threads get no time (kernel.sched_rt_runtime_us is 0)", remedy)
    grant = "CAP_SYS_NICE" if capable else f"rtprio {limit}"
    kernel = "PREEMPT_RT kernel" if machine.read("/sys/kernel/realtime").strip() == "1" else "standard kernel"
    return Finding("real time", OK, f"SCHED_FIFO permitted ({grant}), {kernel}")


def check_clock(machine: Machine) -> Finding:
    """Whether there is a ptp4l, and whether this user may ask it; `muon-ad clock` tells the rest."""
    there = [path for path in PTP4L_SOCKETS if machine.exists(path)]
    if not there:
        return Finding("clock", OK, "no ptp4l; needed only for stamps of several machines (docs/ptp.md)")
    if not machine.writable(there[0]):
        detail = f"there is a ptp4l, but this user may not ask it at {there[0]}"
        return Finding("clock", WARN, detail, f"sudo chmod 666 {there[0]}")
    return Finding("clock", OK, f"ptp4l at {there[0]}; its state: muon-ad clock")


def check_accelerators(machine: Machine) -> Finding:
    """Matrix units of the CPU, an NVIDIA GPU, a Jetson with TensorRT."""
    flags = machine.processor_flags()
    found = [label for flag, label in CPU_UNITS.items() if flag in flags]
    gpu = machine.output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).strip()
    found += [f"NVIDIA {name.strip()}" for name in gpu.splitlines()]
    if machine.exists("/etc/nv_tegra_release"):
        if not machine.has_module("tensorrt"):
            detail = f"{', '.join([*found, 'Jetson'])}, but this Python does not find TensorRT"
            return Finding("accelerators", WARN, detail, "sudo apt-get install -y nvidia-jetpack")
        found.append("Jetson with TensorRT")
    return Finding("accelerators", OK if found else WARN, ", ".join(found) or "none known: expect low frame rates")


def engine_folders(machine: Machine) -> list[Path]:
    """Where engine packages are looked up, first match wins."""
    listed = machine.environment.get("MUON_AD_MODELS", "").split(os.pathsep)
    installed = [prefix / "share/muon_ad_ros/models" for prefix in machine.ament_prefixes()]
    home = Path(machine.environment.get("HOME", "/"), ".local/share/muon_ad/models")
    return [*(Path(entry) for entry in listed if entry), machine.checkout / "models", *installed, home]


def check_engines(machine: Machine) -> Finding:
    """Checksums of every engine package this machine would find."""
    seen: dict[str, Path] = {}
    for folder in engine_folders(machine):
        for manifest in sorted(folder.glob("*/manifest.json")):
            seen.setdefault(manifest.parent.name, manifest.parent)
    if not seen:
        return Finding("engines", FAIL, "no engine package found", "git checkout -- models (then build again)")
    for package in seen.values():
        fault = _engine_fault(package)
        if fault:
            return Finding("engines", FAIL, f"{package}: {fault}", f"git checkout -- models/{package.name}")
    return Finding("engines", OK, f"{', '.join(sorted(seen))}: checksums right")


def _engine_fault(package: Path) -> str:
    """What is wrong with the files of an engine package; empty when nothing is."""
    try:
        files = json.loads((package / "manifest.json").read_text())["files"]
        for name, expected in files.items():
            if hashlib.sha256((package / name).read_bytes()).hexdigest() != expected:
                return f"{name} is not the file the manifest names"
    except OSError as error:
        return f"{Path(error.filename or package).name} cannot be read"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "manifest.json is damaged"
    return ""


def check_disk(machine: Machine) -> Finding:
    total, free = machine.disk(machine.checkout)
    level = FAIL if free < DISK_FULL else WARN if free < DISK_LOW else OK
    remedy = "" if level == OK else f"free some space on the disk of {machine.checkout}"
    return Finding("disk", level, f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free", remedy)


ESSENTIAL = (check_python, check_compiler, check_cmake, check_ros)
FURTHER = (
    check_messages,
    check_packages,
    check_dds,
    check_socket_buffers,
    check_shared_memory,
    check_real_time,
    check_clock,
    check_accelerators,
    check_engines,
    check_disk,
)


def examine(machine: Machine, checks: Iterable[Callable[[Machine], Finding]]) -> list[Finding]:
    """Run the checks in order."""
    return [check(machine) for check in checks]


def format_finding(finding: Finding, coloured: bool = False) -> str:
    """One line: level, name, what was found and the command that mends it."""
    colour = {OK: "32", WARN: "33", FAIL: "31"}[finding.level]
    level = f"\033[{colour}m{finding.level:4}\033[0m" if coloured else f"{finding.level:4}"
    remedy = f"; mend: {finding.remedy}" if finding.remedy else ""
    return f"{level}  {finding.name:13}  {finding.detail}{remedy}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--essential", action="store_true", help="only what set-up itself needs; print only failures")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 0 when nothing essential is wrong, else 1."""
    findings = examine(Machine(), ESSENTIAL if arguments.essential else ESSENTIAL + FURTHER)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            if finding.level == FAIL or not arguments.essential:
                print(format_finding(finding, coloured=sys.stdout.isatty()))
    return int(any(finding.level == FAIL for finding in findings))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="muon-ad doctor", description="Check this machine.")
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
