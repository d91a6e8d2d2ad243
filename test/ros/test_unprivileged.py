# SPDX-License-Identifier: Apache-2.0
"""The joint task of a user without permission for real-time priorities: it works, and warns once."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from muon_ad_msgs.msg import WorkerStatus

from muon_ad_ros.environment import child_environment

PATIENCE = 90.0  # seconds
NAMESPACE = "unprivileged"
_PR_CAPBSET_DROP, _CAP_IPC_LOCK, _CAP_SYS_NICE = 24, 14, 23
_libc = ctypes.CDLL(None)


def give_up_privileges() -> None:
    """In the child: what starts next may not use real-time priorities, whoever the user is."""
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    for capability in (_CAP_SYS_NICE, _CAP_IPC_LOCK):
        _libc.prctl(_PR_CAPBSET_DROP, capability)  # fails for an ordinary user, who has none of them


def test_everything_works_and_one_warning_names_the_remedy(tmp_path: Path, probe: Any, wait_until: Any) -> None:
    log = tmp_path / "log.txt"
    command = [sys.executable, "-m", "muon_ad_core.cli", "up", "--namespace", NAMESPACE]
    with log.open("wb") as output:
        task = subprocess.Popen(
            command,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=give_up_privileges,
        )
    try:
        nodes = [f"/{NAMESPACE}/{name}" for name in ("camera", "style_transfer", "detector")]
        heard = {node: probe.listen(f"{node}/status", WorkerStatus) for node in nodes}
        for node in nodes:
            wait_until(lambda node=node: any(status.frames_out > 10 for status in heard[node]), f"frames of {node}")
        style = heard[nodes[1]]
        wait_until(lambda: style[-1].policy_asked == "FIFO", "the policy asked of style")
        wait_until(lambda: style[-1].policy_reason, "the reason why style did not get it")
        assert style[-1].policy_granted == "OTHER"
        detection = heard[nodes[2]]
        wait_until(lambda: detection[-1].nice_granted > os.getpriority(os.PRIO_PROCESS, 0), "detection giving way")
        wait_until(lambda: refusals(log), "the warning")
    finally:
        task.send_signal(signal.SIGINT)
        code = task.wait(PATIENCE)
    assert code == 0, log.read_text()
    (warning,) = refusals(log)
    assert "limits.d" in warning and "rtprio" in warning


def refusals(log: Path) -> list[str]:
    """Warnings that something was refused."""
    return [line for line in log.read_text().splitlines() if "[WARN]" in line and "refused" in line]
