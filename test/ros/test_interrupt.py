# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the middle of a state change: what the node is doing is finished, then it is cleaned up and ends."""

import subprocess
import sys

from muon_ad_ros.environment import child_environment

NODE = """
import os, signal, sys, time
from muon_ad_ros.managed import ManagedNode, run_node

class Interrupted(ManagedNode):
    def __init__(self):
        super().__init__("interrupted", [])

    def activate(self):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        print("activated", flush=True)

    def deactivate(self):
        os.kill(os.getpid(), signal.SIGINT)
        print("deactivated", flush=True)

sys.exit(run_node(Interrupted))
"""


def test_an_interrupt_does_not_tear_a_state_change_apart() -> None:
    command = [sys.executable, "-c", NODE, "--ros-args", "-r", "__ns:=/test_interrupt"]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["activated", "deactivated"]
    assert "Traceback" not in done.stderr
