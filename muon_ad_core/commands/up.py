# SPDX-License-Identifier: Apache-2.0
"""``muon-ad up``: run a task, one process a node, until Ctrl-C. What `ros2 launch` does, on machines without it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.errors import ParameterError
from muon_ad_core.view import require_web_server

if TYPE_CHECKING:
    from muon_ad_ros.bringup import NodeSpec

JOINT_TASK, CAMERAS = "joint_task", "cameras"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad up``."""
    parser.add_argument("task", nargs="?", default=JOINT_TASK, choices=[JOINT_TASK, CAMERAS], help="what to run")
    parser.add_argument(
        "--source",
        help="scene (motorcycle, pan), video file, image folder, /dev/videoN, bag, realsense[:SERIAL], emulated_d415, "
        "csi[:SOURCE], or none (default: motorcycle; for cameras: emulated_d415)",
    )
    parser.add_argument(
        "--csi", default="none", help="second camera of the task cameras: nvargus[:N], /dev/videoN, pattern, or none"
    )
    parser.add_argument(
        "--clock",
        default="auto",
        choices=["auto", "true", "false"],
        help="of the task cameras: watch this machine's clock under PTP (default: auto, where there is a ptp4l)",
    )
    parser.add_argument("--style", default="", help="style to begin with (default: the parameter file's)")
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="stop by itself after so long")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="NODE.PARAMETER=VALUE",
        help="set a parameter, for example style_transfer.strength=0.5 (may be given several times)",
    )
    parser.add_argument("--namespace", default="", help="namespace of all nodes")
    parser.add_argument("--params-file", type=Path, metavar="YAML", help="node parameters (default: the task's file)")
    parser.add_argument("--use-sim-time", action="store_true", help="take the time from /clock")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warn", "error", "fatal"], help="least severity logged"
    )
    parser.add_argument("--view", action="store_true", help="serve the live view, a web page, on this machine")
    parser.add_argument("--no-respawn", action="store_true", help="do not start a node again after a crash")


def run(args: argparse.Namespace) -> int:
    """Run the task; returns 0, 1 when a node could not be kept alive, or 2 after a user's mistake."""
    from muon_ad_ros.bringup import parameter_file
    from muon_ad_ros.environment import child_environment
    from muon_ad_ros.starter import Starter, StartOptions, parse_override

    if args.params_file is not None and not args.params_file.is_file():
        raise ParameterError(f"there is no parameter file {args.params_file}")
    if args.view:
        require_web_server()
    overrides: dict[str, dict[str, str]] = {}
    for text in args.overrides:
        node, parameter, value = parse_override(text)
        overrides.setdefault(node, {})[parameter] = value
    options = StartOptions(
        namespace=args.namespace,
        parameter_file=args.params_file or parameter_file(args.task),
        overrides=overrides,
        log_level=args.log_level,
        respawn=not args.no_respawn,
        spare=True,
        use_sim_time=args.use_sim_time,
    )
    return Starter(node_table(args), options, child_environment()).run(args.duration)


def node_table(args: argparse.Namespace) -> list[NodeSpec]:
    """The nodes of the task."""
    from muon_ad_ros.bringup import cameras, joint_task

    if args.task == CAMERAS:
        return cameras(args.source or "emulated_d415", args.csi, clock=args.clock)
    return joint_task(args.source or "motorcycle", args.style, args.use_sim_time, args.view)
