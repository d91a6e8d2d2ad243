# SPDX-License-Identifier: Apache-2.0
"""A spare process: it has imported what a task's nodes need and waits to become one of them.

Imports are half of what the start of a node costs. The process takes no processor time while it waits, and is not in
the ROS graph. Usage: ``python -m muon_ad_ros.spare EXECUTABLE...``; then, as one line of JSON on its standard input,
the command line of the node, as `starter.node_command` makes it. It ends when its input is closed without one.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Iterable

from rcl_interfaces.msg import ParameterEvent
from rclpy.type_support import check_for_type_support

from muon_ad_core.engine.runtime import preload_backend
from muon_ad_core.realtime.memory import keep_freed_memory

from .bringup import PACKAGE
from .run import run


def main() -> None:
    """Import what is named on the command line, wait, become the node."""
    keep_freed_memory()  # libraries start threads
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # who interrupts it closes its input, too
    _prepare(sys.argv[1:])
    line = sys.stdin.readline()
    if not line:
        return
    _leave_input()
    _, _, _, *sys.argv = json.loads(line)
    run(sys.argv[0])


def _prepare(executables: Iterable[str]) -> None:
    for executable in executables:
        importlib.import_module(f"{PACKAGE}.{executable}")
    if f"{PACKAGE}.worker" in sys.modules:  # some of them run an engine
        preload_backend()
    check_for_type_support(ParameterEvent)  # the first message type brings in what serves them all


def _leave_input() -> None:
    """Nodes have nothing to read."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)


if __name__ == "__main__":
    main()
