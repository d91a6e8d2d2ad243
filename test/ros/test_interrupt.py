# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: what the node is doing is finished, then it is cleaned up and ends, even if the middleware keeps it."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muon_ad_ros.bringup import NodeSpec
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import StartOptions, node_command

SIGINT_BIT = 1 << (signal.SIGINT - 1)
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


def test_an_interrupt_during_the_imports_waits_for_the_node(wait_until: Callable[..., Any]) -> None:
    command = node_command(NodeSpec("camera", "scene_camera"), StartOptions(namespace="test_interrupt"))
    process = subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, text=True)
    wait_until(lambda: SIGINT_BIT & int(status_of(process.pid)["SigBlk"], 16), "interrupts that wait")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def status_of(pid: int) -> dict[str, str]:
    """The kernel's status of a process; see proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


HELD = """
import ctypes, os, signal, sys
from muon_ad_core.errors import UserError
from muon_ad_ros.managed import ManagedNode, run_node

class Held(ManagedNode):
    def __init__(self):
        super().__init__("held", [])

    def activate(self):
        if "mistake" in sys.argv:
            raise UserError("a mistake")
        os.kill(os.getpid(), signal.SIGINT)

    def cleanup(self):
        print("cleaned up")

    def destroy_node(self):
        ctypes.PyDLL(None).pause()  # with Python's lock held

sys.exit(run_node(Held))
"""


@pytest.mark.parametrize("arguments, exit_code", [([], 0), (["mistake"], 2)])
def test_a_node_ends_though_the_middleware_does_not_let_it_go(arguments: list[str], exit_code: int) -> None:
    command = [sys.executable, "-c", HELD, *arguments, "--ros-args", "-r", "__ns:=/test_interrupt"]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False, timeout=60)
    assert done.returncode == exit_code, done.stderr
    assert "cleaned up" in done.stdout
