# SPDX-License-Identifier: Apache-2.0
"""Build of the ament_python package muon_ad_ros (with the ROS-free library muon_ad_core)."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "muon_ad_ros"
SOURCE = Path(__file__).resolve().parent  # colcon runs a symbolic link to this file from its build folder
SHARED_FOLDERS = ("launch", "config", "models")  # installed below share/muon_ad_ros, folders kept
NODES = (
    "scene_camera",
    "video_camera",
    "realsense_camera",
    "csi_camera",
    "bag_player",
    "style_transfer",
    "detector",
    "scheduler",
    "recorder",
    "frame_sync",
    "clock_monitor",
    "live_view",
)


def shared_files() -> list[tuple[str, list[str]]]:
    """The data_files entries: ament's index marker, package.xml, and every file of the shared folders."""
    entries = [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ]
    for top in SHARED_FOLDERS:
        paths = (path for path in sorted((SOURCE / top).rglob("*")) if "__pycache__" not in path.parts)
        files = [path.relative_to(SOURCE) for path in paths if path.is_file()]
        for folder in sorted({path.parent for path in files}):
            entries.append((f"share/{PACKAGE}/{folder}", [str(path) for path in files if path.parent == folder]))
    return entries


def requirements(name: str) -> list[str]:
    """The requirement lines of requirements/NAME.txt, without comments and without included files."""
    text = (SOURCE / "requirements" / f"{name}.txt").read_text()
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("-")]


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Live generative style transfer with object detection beside it, for robots at the edge.",
    license="Apache-2.0",
    packages=find_packages(include=["muon_ad_ros*", "muon_ad_core*"]),
    package_data={"muon_ad_core.bench": ["*.json"], "muon_ad_core.view": ["page/*"]},
    data_files=shared_files(),
    python_requires=">=3.10",
    install_requires=requirements("runtime"),
    extras_require={name: requirements(name) for name in ("realsense", "test", "train", "view")},
    entry_points={
        "console_scripts": [
            "muon-ad = muon_ad_core.cli:main",
            *(f"{node} = muon_ad_ros.run:main" for node in NODES),
        ]
    },
    zip_safe=False,
)
