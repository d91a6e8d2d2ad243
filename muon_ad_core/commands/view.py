# SPDX-License-Identifier: Apache-2.0
"""Serve the live view: a web page that shows what the nodes do and changes their parameters. Ctrl-C ends it.

The joint task runs elsewhere (ros2 launch, muon-ad up); `muon-ad up --view` starts both.
"""

from __future__ import annotations

import argparse

from muon_ad_core.view import require_web_server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad view``."""
    parser.add_argument(
        "--address", default="127.0.0.1", help="address to serve on; 0.0.0.0 for all (default: localhost)"
    )
    parser.add_argument("--port", type=int, default=8090, help="port to serve on (default: 8090)")
    parser.add_argument(
        "--token", default="", help="word the page asks for (default: one is made up and printed, none on localhost)"
    )
    parser.add_argument("--namespace", default="", help="namespace of the nodes to show")
    parser.add_argument("--use-sim-time", action="store_true", help="take the time from /clock")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; returns 0, 1 when the node could not be kept alive, or 2 after a user's mistake."""
    from muon_ad_ros.bringup import NodeSpec, parameter_file
    from muon_ad_ros.environment import child_environment
    from muon_ad_ros.starter import Starter, StartOptions

    require_web_server()
    parameters = {"address": args.address, "port": args.port, "token": args.token}
    options = StartOptions(
        namespace=args.namespace, parameter_file=parameter_file("joint_task"), use_sim_time=args.use_sim_time
    )
    return Starter([NodeSpec("live_view", "live_view", parameters)], options, child_environment()).run()
