# SPDX-License-Identifier: Apache-2.0
"""The doctor's findings on machines described by tables, and its command line under a bare Python."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from muon_ad_core import doctor
from muon_ad_core.doctor import FAIL, OK, WARN, Finding, format_finding
from muon_ad_core.machine import CHECKOUT, PACKAGE_INDEX, Machine


class DescribedMachine(Machine):
    """A healthy x86-64 machine without a ROS; tests change what they are about."""

    def __init__(self, checkout: Path) -> None:
        super().__init__(checkout, {"HOME": str(checkout / "home")})
        self.python_version = (3, 11)
        self.python = "/usr/bin/python3"
        self.architecture = "x86_64"
        self.programs = {"g++": "/usr/bin/g++", "make": "/usr/bin/make", "cmake": "/usr/bin/cmake"}
        self.modules = {"ensurepip", *doctor.RUNTIME_MODULES}
        self.paths = {str(self.python_header()), str(checkout / "Makefile")}
        self.writable_paths: set[str] = set()
        self.texts = {
            "/proc/sys/net/core/rmem_max": "212992\n",
            "/proc/sys/net/core/wmem_max": "4194304\n",
            "/proc/self/status": "Name:\tpython3\nCapEff:\t0000000000000000\n",
            "/proc/sys/kernel/sched_rt_runtime_us": "950000\n",
            "/proc/cpuinfo": "flags : fpu avx2 avx512f avx512_vnni\n",
        }
        self.outputs: dict[str, str] = {}
        self.disks = {"/dev/shm": (8 * 2**30, 4 * 2**30)}
        self.rtprio = 0

    def which(self, program: str) -> str | None:
        return self.programs.get(program)

    def has_module(self, name: str) -> bool:
        return name in self.modules

    def exists(self, path: Path | str) -> bool:
        return str(path) in self.paths

    def writable(self, path: Path | str) -> bool:
        return str(path) in self.writable_paths

    def read(self, path: Path | str) -> str:
        return self.texts.get(str(path), "")

    def output(self, command: Sequence[str]) -> str:
        return self.outputs.get(command[0], "")

    def disk(self, path: Path | str) -> tuple[int, int]:
        return self.disks.get(str(path), (100 * 2**30, 50 * 2**30))

    def real_time_limit(self) -> int:
        return self.rtprio


@pytest.fixture
def machine(tmp_path: Path) -> DescribedMachine:
    return DescribedMachine(tmp_path)


def source_ros(machine: DescribedMachine, prefix: str, python: str) -> None:
    machine.environment = {**machine.environment, "AMENT_PREFIX_PATH": prefix, "ROS_DISTRO": Path(prefix).name}
    machine.paths |= {f"{prefix}/{PACKAGE_INDEX}/rclpy", f"{prefix}/lib/python{python}/site-packages/rclpy"}


def test_a_fresh_machine_passes_the_essential_checks(machine: DescribedMachine) -> None:
    assert [finding.level for finding in doctor.examine(machine, doctor.ESSENTIAL)] == [OK] * 4


@pytest.mark.parametrize(
    ("version", "level", "part"),
    [((3, 8), FAIL, "too old"), ((3, 10), OK, "3.10"), ((3, 13), OK, "3.13"), ((3, 14), FAIL, "too new")],
)
def test_python_versions(machine: DescribedMachine, version: tuple[int, int], level: str, part: str) -> None:
    machine.python_version = version
    finding = doctor.check_python(machine)
    assert (finding.level, part in finding.detail) == (level, True)


def test_a_sourced_ros_may_bring_a_newer_python(machine: DescribedMachine) -> None:
    machine.python_version = (3, 14)
    source_ros(machine, "/opt/ros/lyrical", "3.14")
    assert doctor.check_python(machine).level == OK


def test_missing_system_packages_are_named_for_apt(machine: DescribedMachine) -> None:
    machine.modules.remove("ensurepip")
    machine.paths.clear()
    machine.programs.clear()
    findings = doctor.examine(machine, doctor.ESSENTIAL)
    packages = {name for finding in findings for name in finding.packages}
    assert packages == {"python3.11-venv", "python3.11-dev", "g++", "make", "cmake"}
    assert doctor.check_cmake(machine).remedy == "sudo apt-get install -y cmake"


def test_without_ros_only_x86_has_wheels(machine: DescribedMachine) -> None:
    machine.architecture = "aarch64"
    assert doctor.check_ros(machine).level == FAIL
    machine.paths.add("/opt/ros/humble")
    assert doctor.check_ros(machine).remedy == ". /opt/ros/humble/setup.bash"


def test_an_installed_ros_that_is_not_sourced_is_pointed_out(machine: DescribedMachine) -> None:
    machine.paths.add("/opt/ros/jazzy")
    finding = doctor.check_ros(machine)
    assert (finding.level, finding.remedy) == (WARN, ". /opt/ros/jazzy/setup.bash")


def test_a_sourced_ros_must_be_for_this_python(machine: DescribedMachine) -> None:
    source_ros(machine, "/opt/ros/humble", "3.10")
    finding = doctor.check_ros(machine)
    assert (finding.level, finding.remedy) == (FAIL, "make PYTHON=/usr/bin/python3")
    machine.python_version = (3, 10)
    assert doctor.check_ros(machine) == Finding("ros", OK, "humble sourced from /opt/ros/humble")


def test_wheels_of_another_checkout_are_not_an_installed_ros(machine: DescribedMachine) -> None:
    source_ros(machine, "/other/.venv", "3.11")
    machine.paths.add("/other/.venv/pyvenv.cfg")
    assert machine.ros().kind == "none"


def test_message_packages_are_found_in_the_checkout_or_sourced(machine: DescribedMachine) -> None:
    assert doctor.check_messages(machine).detail == "muon_ad_msgs and vision_msgs not built"
    machine.paths.add(str(machine.checkout / "install" / PACKAGE_INDEX / "muon_ad_msgs"))
    assert doctor.check_messages(machine).detail == "vision_msgs not built"
    machine.environment = {"AMENT_PREFIX_PATH": "/opt/ros/jazzy"}
    machine.paths.add(f"/opt/ros/jazzy/{PACKAGE_INDEX}/vision_msgs")
    assert doctor.check_messages(machine).level == OK


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, WARN),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/there.xml"}, OK),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/there.xml"}, OK),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/gone.xml"}, WARN),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, WARN),
    ],
)
def test_dds_profile(machine: DescribedMachine, variables: dict[str, str], level: str) -> None:
    machine.environment = variables
    machine.paths.add("/there.xml")
    finding = doctor.check_dds(machine)
    assert finding.level == level
    assert bool(finding.remedy) == (level == WARN)


def test_in_a_workspace_the_remedies_are_those_of_a_workspace(machine: DescribedMachine) -> None:
    machine.paths = {f"/ws/install/muon_ad_ros/{PACKAGE_INDEX}/muon_ad_ros"}
    machine.environment = {"AMENT_PREFIX_PATH": "/ws/install/muon_ad_ros"}
    machine.modules -= {"cv2", "openvino"}
    assert doctor.check_packages(machine).remedy == ("/usr/bin/python3 -m pip install opencv-python-headless openvino")
    assert doctor.check_messages(machine).remedy.startswith("colcon build")
    assert doctor.check_dds(machine).remedy == (
        "export FASTRTPS_DEFAULT_PROFILES_FILE="
        "/ws/install/muon_ad_ros/share/muon_ad_ros/config/fastdds_large_images.xml"
    )


def test_small_socket_buffers_get_the_sysctl_line(machine: DescribedMachine) -> None:
    finding = doctor.check_socket_buffers(machine)
    assert finding.level == WARN
    assert finding.remedy == "sudo sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304"
    machine.texts["/proc/sys/net/core/rmem_max"] = "8388608"
    assert doctor.check_socket_buffers(machine).level == OK


@pytest.mark.parametrize(("capabilities", "limit", "level"), [("0", 0, WARN), ("800000", 0, OK), ("0", 90, OK)])
def test_real_time_permission(machine: DescribedMachine, capabilities: str, limit: int, level: str) -> None:
    machine.texts["/proc/self/status"] = f"CapEff:\t{capabilities}\n"
    machine.rtprio = limit
    assert doctor.check_real_time(machine).level == level


def test_a_container_s_shared_memory_is_too_small(machine: DescribedMachine) -> None:
    assert doctor.check_shared_memory(machine).level == OK
    machine.disks["/dev/shm"] = (64 * 2**20, 64 * 2**20)
    assert "--shm-size" in doctor.check_shared_memory(machine).remedy


def test_ptp4l_of_root_cannot_be_asked(machine: DescribedMachine) -> None:
    assert doctor.check_clock(machine).level == OK
    machine.paths.add("/var/run/ptp4l")
    assert doctor.check_clock(machine).remedy == "sudo chmod 666 /var/run/ptp4l"
    machine.writable_paths.add("/var/run/ptp4l")
    assert "muon-ad clock" in doctor.check_clock(machine).detail


def test_accelerators(machine: DescribedMachine) -> None:
    machine.outputs["nvidia-smi"] = "Orin\n"
    assert doctor.check_accelerators(machine).detail == "AVX-512 VNNI, AVX-512, AVX2, NVIDIA Orin"
    machine.paths.add("/etc/nv_tegra_release")
    assert doctor.check_accelerators(machine).level == WARN
    machine.modules.add("tensorrt")
    assert doctor.check_accelerators(machine).detail.endswith("Jetson with TensorRT")


def test_engine_files_are_checked_against_their_manifest(machine: DescribedMachine) -> None:
    assert doctor.check_engines(machine).level == FAIL
    package = machine.checkout / "models" / "student"
    package.mkdir(parents=True)
    (package / "graph.onnx").write_bytes(b"graph")
    manifest = package / "manifest.json"
    manifest.write_text(json.dumps({"files": {"graph.onnx": hashlib.sha256(b"graph").hexdigest()}}))
    assert doctor.check_engines(machine).level == OK
    (package / "graph.onnx").write_bytes(b"grap")
    assert "graph.onnx is not the file the manifest names" in doctor.check_engines(machine).detail
    (package / "graph.onnx").unlink()
    assert "graph.onnx cannot be read" in doctor.check_engines(machine).detail
    manifest.write_text("{")
    assert "manifest.json is damaged" in doctor.check_engines(machine).detail


def test_engine_folders_of_the_user_come_first(machine: DescribedMachine) -> None:
    machine.environment = {"MUON_AD_MODELS": "/a:/b", "AMENT_PREFIX_PATH": "/ws", "HOME": "/home/u"}
    assert doctor.engine_folders(machine) == [
        Path("/a"),
        Path("/b"),
        machine.checkout / "models",
        Path("/ws/share/muon_ad_ros/models"),
        Path("/home/u/.local/share/muon_ad/models"),
    ]


@pytest.mark.parametrize(("free", "level"), [(2**29, FAIL), (2 * 2**30, WARN), (20 * 2**30, OK)])
def test_disk(machine: DescribedMachine, free: int, level: str) -> None:
    machine.disks[str(machine.checkout)] = (100 * 2**30, free)
    assert doctor.check_disk(machine).level == level


@pytest.mark.parametrize("check", [*doctor.ESSENTIAL, *doctor.FURTHER])
def test_whatever_is_wrong_has_a_remedy(machine: DescribedMachine, check: Callable[[Machine], Finding]) -> None:
    machine.programs.clear()
    machine.modules.clear()
    machine.paths.clear()
    machine.texts = {"/proc/cpuinfo": "flags : avx2", "/proc/sys/net/core/rmem_max": "1"}
    machine.disks = {"/dev/shm": (0, 0), str(machine.checkout): (1, 1)}
    machine.architecture = "aarch64"
    finding = check(machine)
    assert finding.level == OK or finding.remedy
    assert "\n" not in format_finding(finding)


def test_lines_are_coloured_only_when_asked() -> None:
    finding = Finding("cmake", FAIL, "cmake not found", "sudo apt-get install -y cmake")
    assert format_finding(finding) == ("fail  cmake          cmake not found; mend: sudo apt-get install -y cmake")
    assert format_finding(finding, coloured=True).startswith("\033[31mfail\033[0m")


def run_doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); "
               "from muon_ad_core.doctor import main; sys.exit(main())", str(CHECKOUT), *arguments]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_needs_nothing_but_python() -> None:
    result = run_doctor("--json")
    findings = json.loads(result.stdout)
    assert [finding["name"] for finding in findings][:4] == ["python", "compiler", "cmake", "ros"]
    assert result.returncode == int(any(finding["level"] == FAIL for finding in findings))
    assert "packages" in {finding["name"] for finding in findings if finding["level"] == FAIL}  # -S hides them


def test_the_essential_part_prints_only_failures() -> None:
    result = run_doctor("--essential")
    assert result.stderr == ""
    assert all(line.startswith(FAIL) for line in result.stdout.splitlines())
    assert result.returncode == int(bool(result.stdout))
