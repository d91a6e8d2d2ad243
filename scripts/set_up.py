# SPDX-License-Identifier: Apache-2.0
"""Make this checkout run on a fresh machine: system packages, .venv, ROS, message packages. ``make`` calls it.

Every stage leaves a stamp with a hash of what it was made from and is skipped while that stays the same. A ROS that is
sourced is used as it is; without one, ROS 2 Jazzy comes from Python wheels. Standard library only.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from muon_ad_core.doctor import ESSENTIAL, FAIL, examine, format_finding  # noqa: E402
from muon_ad_core.machine import PACKAGE_INDEX, Machine  # noqa: E402

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BUILD = ROOT / "build"
INSTALL = ROOT / "install"
REQUIREMENTS = ROOT / "requirements"
GENERATED_VISION_MSGS = BUILD / "generated" / "vision_msgs"


class SetUpError(Exception):
    """Set-up cannot go on; the message says why and what to do."""


def execute(title: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run one step, its output in build/log_set_up.txt; the last lines of it are shown when the step fails."""
    print(f"muon-ad: {title} ...", flush=True)
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "log_set_up.txt"
    started = time.monotonic()
    with log.open("w") as stream:
        status = subprocess.run(
            command, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, check=False
        ).returncode
    if status:
        print("\n".join(log.read_text(errors="replace").splitlines()[-25:]), file=sys.stderr)
        raise SetUpError(f"{title} failed (the lines above; all of them in {log})")
    print(f"muon-ad: {title}: {time.monotonic() - started:.0f} s", flush=True)


def fingerprint(parts: Iterable[str | Path]) -> str:
    """Hash of texts, and of names and contents of files."""
    digest = hashlib.sha256()
    for part in parts:
        name, content = (str(part.relative_to(ROOT)), part.read_bytes()) if isinstance(part, Path) else (part, b"")
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def is_current(stamp: Path, key: str) -> bool:
    return stamp.is_file() and stamp.read_text() == key


def require_system(machine: Machine) -> None:
    """Check what set-up needs, installing Debian packages where that is allowed.

    Raises:
        SetUpError: something is missing; the message holds the line of ``muon-ad doctor`` with the mending command.
    """
    failures = [finding for finding in examine(machine, ESSENTIAL) if finding.level == FAIL]
    packages = sorted({package for finding in failures for package in finding.packages})
    administrator = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if packages and shutil.which("apt-get") and may_administrate(administrator):
        apt = [*administrator, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        execute("updating the package lists", [*apt, "update"])
        execute(f"installing {' '.join(packages)}", [*apt, "install", "-y", "--no-install-recommends", *packages])
        failures = [finding for finding in examine(machine, ESSENTIAL) if finding.level == FAIL]
    if failures:
        raise SetUpError("\n".join(format_finding(finding) for finding in failures))


def may_administrate(administrator: Sequence[str]) -> bool:
    """Whether commands with this prefix run as root without asking for a password."""
    try:
        return subprocess.run([*administrator, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def base_python() -> str:
    """The Python that .venv is made from, also when this runs under .venv itself."""
    path = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return str(path) if path.exists() else sys.executable


def make_venv(ros_prefix: str, generates_vision_msgs: bool) -> None:
    """Make .venv for this Python and this ROS; all that was made before goes when one of them changed."""
    key = fingerprint([base_python(), sys.version, ros_prefix, str(generates_vision_msgs)])
    stamp = VENV / "stamp_venv"
    if is_current(stamp, key):
        return
    for folder in (VENV, INSTALL, BUILD):
        shutil.rmtree(folder, ignore_errors=True)
    options = ["--system-site-packages"] if ros_prefix else []
    execute("making .venv", [base_python(), "-m", "venv", *options, str(VENV)])
    stamp.write_text(key)


def install_requirements(machine: Machine, names: Sequence[str], label: str) -> None:
    """Install requirements/NAME.txt for every name into .venv."""
    files = [REQUIREMENTS / f"{name}.txt" for name in names]
    constraints = [REQUIREMENTS / "ros-installed-constraints.txt"] if machine.ros().kind == "sourced" else []
    key = fingerprint([*files, *constraints])
    stamp = VENV / f"stamp_{label}"
    if is_current(stamp, key):
        return
    # Byte code is left to the first import: compiling all of it now takes longer than everything else pip does.
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--prefer-binary", "--no-compile"]
    command += [option for file in files for option in ("-r", str(file))]
    command += [option for file in constraints for option in ("-c", str(file))]
    execute(f"installing Python packages ({label})", command, build_environment(machine))
    stamp.write_text(key)


def build_environment(machine: Machine) -> dict[str, str]:
    """Variables for pip and colcon: .venv first; without a sourced ROS, only .venv on the ROS paths."""
    path = os.pathsep.join([str(VENV / "bin"), machine.environment.get("PATH", os.defpath)])
    environment = {**machine.environment, "VIRTUAL_ENV": str(VENV), "PATH": path}
    if machine.ros().kind != "sourced":
        for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"):
            environment.pop(name, None)
        environment.update(AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV))
    return environment


def colcon(machine: Machine, packages: Sequence[str]) -> None:
    """Build packages of this checkout into install/: one merged prefix, Python sources linked (edits are live)."""
    # Otherwise colcon adds a load limit: beside anything else that runs, make would compile one file at a time.
    environment = {**build_environment(machine), "MAKEFLAGS": f"-j{len(os.sched_getaffinity(0))}"}
    program = shutil.which("colcon", path=environment["PATH"])
    if program is None:
        raise SetUpError(f"colcon is not in {VENV}: run 'make clean', then again")
    folders = [".", "msg", *([str(GENERATED_VISION_MSGS)] if GENERATED_VISION_MSGS.is_dir() else [])]
    command = [str(PYTHON), program, "build", "--base-paths", *folders, "--packages-select", *packages]
    command += ["--merge-install", "--symlink-install", "--cmake-args", "-DBUILD_TESTING=OFF"]
    if machine.ros().kind != "sourced":
        command += [f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'scripts' / 'wheel_ros.cmake'}"]
    execute(f"building {' and '.join(packages)}", command, environment)


def build_messages(machine: Machine, generates_vision_msgs: bool) -> None:
    """Build muon_ad_msgs, and vision_msgs where the ROS in use lacks it."""
    generator = ROOT / "scripts" / "generate_vision_msgs.py"
    sources = sorted(path for path in (ROOT / "msg").rglob("*") if path.is_file())
    key = fingerprint([generator, ROOT / "scripts" / "wheel_ros.cmake", *sources])
    stamp = BUILD / "stamp_messages"
    if is_current(stamp, key) and INSTALL.is_dir():
        return
    packages = ["muon_ad_msgs"]
    if generates_vision_msgs:
        execute("generating vision_msgs", [str(PYTHON), str(generator), str(GENERATED_VISION_MSGS)])
        packages.append("vision_msgs")
    colcon(machine, packages)
    stamp.write_text(key)


def build_package(machine: Machine) -> None:
    """Install muon_ad_ros with links to the sources; again when its metadata or the list of its data files changes."""
    metadata = [ROOT / name for name in ("package.xml", "setup.py", "setup.cfg")]
    shared = [path for folder in ("launch", "config", "models", "resource") for path in (ROOT / folder).rglob("*")]
    key = fingerprint([*metadata, *sorted(str(path.relative_to(ROOT)) for path in shared)])
    stamp = BUILD / "stamp_package"
    if is_current(stamp, key) and (INSTALL / "lib" / "muon_ad_ros").is_dir():
        return
    colcon(machine, ["muon_ad_ros"])
    stamp.write_text(key)


def write_command(path: Path) -> None:
    """The muon-ad command of .venv: the installed script within the checkout's environment."""
    lines = ["#!/usr/bin/env bash", f". {shlex.quote(str(ROOT / 'env.sh'))}"]
    lines.append(f'exec {shlex.quote(str(INSTALL / "lib" / "muon_ad_ros" / "muon-ad"))} "$@"')
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)


def set_up(with_tests: bool) -> None:
    """Do every stage that is not done yet."""
    machine = Machine(ROOT)
    require_system(machine)
    ros = machine.ros()
    sourced = ros.kind == "sourced"
    others = [prefix for prefix in machine.ament_prefixes() if prefix != INSTALL]
    has_vision_msgs = sourced and any(machine.exists(prefix / PACKAGE_INDEX / "vision_msgs") for prefix in others)
    make_venv(str(ros.prefix) if sourced else "", not has_vision_msgs)
    runtime = [*([] if sourced else ["ros-jazzy-wheels"]), "colcon", "runtime", "view"]
    install_requirements(machine, runtime, "runtime")
    build_messages(machine, not has_vision_msgs)
    build_package(machine)
    write_command(VENV / "bin" / "muon-ad")
    if with_tests:
        install_requirements(machine, [*runtime, "train", "realsense", "test"], "tests")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with-tests", action="store_true", help="also what make test needs")
    arguments = parser.parse_args(argv)
    checkout = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(checkout, fcntl.LOCK_EX)  # a second make in the same checkout waits for the first
    try:
        set_up(arguments.with_tests)
    except SetUpError as error:
        print(f"muon-ad: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
