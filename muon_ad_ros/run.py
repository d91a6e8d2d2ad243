# SPDX-License-Identifier: Apache-2.0
"""Entry of every node's process: an interrupt waits until the node is there for it.

Python would break off an import with a traceback, and a node's imports take a second and more. ``managed.run_node``
lets interrupts through. Usage: ``python -m muon_ad_ros.run MODULE [ROS ARGUMENTS]``.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path


def main() -> None:
    """Run the node that the executable is named after, as ``ros2 run`` and launch files start it."""
    run(f"{__package__}.{Path(sys.argv[0]).name}")


def run(module: str) -> None:
    """Import a node's module and be that node."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    importlib.import_module(module).main()


if __name__ == "__main__":
    del sys.argv[0]
    run(sys.argv[0])
