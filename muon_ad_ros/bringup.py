# SPDX-License-Identifier: Apache-2.0
"""The node table: which nodes a task consists of. It feeds the launch files and the project's own starter.

Plain Python without ROS imports, so that it can be read and tested on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from muon_ad_core.timing.ptp.client import usual_socket

PACKAGE = "muon_ad_ros"
SCENES = ("motorcycle", "pan")
NO_SOURCE = "none"
AUTO = "auto"
REALSENSE, EMULATED_D415, CSI = "realsense", "emulated_d415", "csi"
ALIGNED_DEPTH = {"depth/image_rect_raw": "aligned_depth_to_color/image_raw"}
CSI_AS_COLOR = {f"csi/{topic}": f"color/{topic}" for topic in ("image_raw", "camera_info", "metadata")}
BAG_SUFFIXES = (".mcap", ".db3")
CONFIG_FOLDER = Path(__file__).resolve().parents[1] / "config"


@dataclass(frozen=True)
class NodeSpec:
    """One node: its name, the executable of this package that runs it, and parameters set by the task."""

    name: str
    executable: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)  # topic as the node says it -> topic it shall use


@dataclass(frozen=True)
class LaunchArgument:
    """An argument of a launch file."""

    name: str
    default: str
    description: str


_SOURCE = LaunchArgument(
    "source",
    "motorcycle",
    f"Camera: a scene ({', '.join(SCENES)}), a video file, an image folder, a device such as /dev/video0, a bag "
    f"(MCAP or sqlite3), {REALSENSE} or {REALSENSE}:SERIAL, {EMULATED_D415}, {CSI} or {CSI}:SOURCE of csi_camera, "
    f"or '{NO_SOURCE}' when another node publishes color/image_raw.",
)
_COMMON = (
    LaunchArgument("namespace", "", "Namespace of all nodes."),
    LaunchArgument("params_file", "", "YAML file of node parameters; empty: the task's file in config/."),
    LaunchArgument("use_sim_time", "false", "Take the time from /clock."),
    LaunchArgument("log_level", "info", "Least severity that is logged: debug, info, warn, error or fatal."),
    LaunchArgument("autostart", "true", "Configure and activate the lifecycle nodes at once."),
    LaunchArgument("use_respawn", "false", "Start a node again after a crash."),
)
LAUNCH_ARGUMENTS = (
    _SOURCE,
    LaunchArgument("style", "", "Style to begin with; empty: the one in the parameter file."),
    *_COMMON,
    LaunchArgument("view", "false", "Serve the live view, a web page, on this machine (node live_view)."),
)
CAMERAS_ARGUMENTS = (
    replace(_SOURCE, default=EMULATED_D415),
    LaunchArgument(
        "csi",
        NO_SOURCE,
        f"Second camera, a source of csi_camera: nvargus, nvargus:N, /dev/videoN, pattern, or '{NO_SOURCE}'.",
    ),
    LaunchArgument("require_clock_locked", "false", "Pair frames only while clock/status says LOCKED."),
    LaunchArgument(
        "clock",
        AUTO,
        "Watch this machine's clock under PTP (node clock_monitor): true, false, or auto: where there is a ptp4l.",
    ),
    *_COMMON,
)


def joint_task(
    source: str = "motorcycle", style: str = "", use_sim_time: bool = False, view: bool = False
) -> list[NodeSpec]:
    """Camera in, stylised picture and detections out, and the scheduler that keeps style first.

    `source` and `view` are as in the launch arguments of those names; `style` empty leaves the parameter file's.
    """
    camera = camera_node(source, use_sim_time)
    depth = ALIGNED_DEPTH if is_realsense(source) else {}
    return [
        *([camera] if camera else []),
        NodeSpec("style_transfer", "style_transfer", {"style": style} if style else {}),
        NodeSpec("detector", "detector", remappings=depth),
        NodeSpec("scheduler", "scheduler"),
        *([NodeSpec("live_view", "live_view", remappings=depth)] if view else []),
    ]


def cameras(
    source: str = EMULATED_D415, csi: str = NO_SOURCE, require_clock_locked: bool = False, clock: str = "false"
) -> list[NodeSpec]:
    """A camera with depth, a second one beside it, and the node that pairs their frames.

    `source` is as for the joint task, `csi` a source of csi_camera or "none". `clock` is as in the launch argument of
    that name; a clock that is required to be locked is watched in any case.
    """
    watched = require_clock_locked or clock == "true" or (clock == AUTO and Path(usual_socket()).exists())
    camera = camera_node(source)
    streams = ["color", "depth", *([] if csi == NO_SOURCE else ["csi"])]
    return [
        *([camera] if camera else []),
        *([] if csi == NO_SOURCE else [NodeSpec("csi_camera", "csi_camera", {"source": csi})]),
        NodeSpec("frame_sync", "frame_sync", {"streams": streams, "require_clock_locked": require_clock_locked}),
        *([NodeSpec("clock_monitor", "clock_monitor")] if watched else []),
    ]


def camera_node(source: str, use_sim_time: bool = False) -> NodeSpec | None:
    """The node named `camera` for `source`; None when another node publishes the pictures.

    A bag's time rules in simulated time: it keeps its stamps then and publishes /clock.
    """
    if source in ("", NO_SOURCE):
        return None
    if source in SCENES:
        return NodeSpec("camera", "scene_camera", {"scene": source})
    if is_realsense(source):
        serial = source.partition(":")[2].lstrip("_")  # launch would take a number for an integer: '_' keeps it text
        own: dict[str, Any] = {"source": EMULATED_D415} if source == EMULATED_D415 else {}
        own |= {"serial": f"_{serial}"} if serial else {}
        return NodeSpec("camera", "realsense_camera", {**own, "aligned_depth": True})
    if source.partition(":")[0] == CSI:
        csi = source.partition(":")[2]
        return NodeSpec("camera", "csi_camera", {"source": csi} if csi else {}, CSI_AS_COLOR)
    if is_bag(Path(source)):
        sim_time = {"stamps": "original", "clock_rate": 100.0} if use_sim_time else {}
        return NodeSpec("camera", "bag_player", {"bag": str(Path(source).absolute()), "camera_only": True, **sim_time})
    return NodeSpec("camera", "video_camera", {"source": source})


def is_realsense(source: str) -> bool:
    """Whether `source` names a RealSense camera, by "realsense", "realsense:SERIAL" or "emulated_d415"."""
    return source == EMULATED_D415 or source.partition(":")[0] == REALSENSE


def is_bag(path: Path) -> bool:
    """Whether `path` is a recording: a rosbag2 folder, or a single MCAP or sqlite3 file."""
    return path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").is_file()


def parameter_file(task: str) -> Path:
    """The parameter file shipped for `task`."""
    installed = CONFIG_FOLDER / f"{task}.yaml"
    if installed.is_file():
        return installed
    from ament_index_python.packages import get_package_share_directory  # missing where nothing is installed

    return Path(get_package_share_directory(PACKAGE), "config", f"{task}.yaml")
