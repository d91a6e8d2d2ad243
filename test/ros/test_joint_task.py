# SPDX-License-Identifier: Apache-2.0
"""The whole joint task by the project's own starter: pictures and detections flow, a killed node comes back."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from muon_ad_msgs.msg import WorkerStatus
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from muon_ad_ros.bringup import joint_task, parameter_file
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import Starter, StartOptions

NAMESPACE = "test_joint_task"


@pytest.fixture(scope="module")
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(scope="module")
def starter(output: io.StringIO) -> Iterator[Starter]:
    options = StartOptions(
        namespace=NAMESPACE,
        parameter_file=parameter_file("joint_task"),
        overrides={"camera": {"rate": "15.0"}, "style_transfer": {"strength": "0.5"}},
    )
    instance = Starter(joint_task(), options, child_environment(), output)
    instance.start()
    yield instance
    instance.stop()


def stepping(starter: Starter, condition: Any) -> Any:
    """A condition that looks after the nodes whenever it is asked."""

    def holds() -> Any:
        starter.step(0.01)
        return condition()

    return holds


def stamps_of(images: list[Image]) -> set[tuple[int, int]]:
    return {(image.header.stamp.sec, image.header.stamp.nanosec) for image in images}


def test_pictures_and_detections_flow_side_by_side(starter: Starter, probe: Any, wait_until: Any) -> None:
    pictures = probe.listen(f"/{NAMESPACE}/stylized/image_raw", Image, reliable=False)
    sources = probe.listen(f"/{NAMESPACE}/color/image_raw", Image, reliable=False)
    detections = probe.listen(f"/{NAMESPACE}/detections", Detection2DArray)
    enough = stepping(starter, lambda: len(pictures) >= 10 and len(detections) >= 5)
    wait_until(enough, "ten stylised pictures and five detection messages")
    common = stepping(starter, lambda: stamps_of(pictures) & stamps_of(sources))
    wait_until(common, "a stylised picture with the stamp of a camera picture")
    assert {image.header.frame_id for image in pictures} == {"camera_color_optical_frame"}
    assert probe.get_parameter(f"/{NAMESPACE}/style_transfer", "strength") == 0.5


def test_a_killed_node_comes_back_and_the_pictures_with_it(
    starter: Starter, output: io.StringIO, probe: Any, wait_until: Any
) -> None:
    statuses = probe.listen(f"/{NAMESPACE}/style_transfer/status", WorkerStatus)
    pid = starter.nodes["style_transfer"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    back = stepping(starter, lambda: any(s.pid not in (0, pid) and s.frames_out > 0 for s in statuses))
    wait_until(back, "pictures from the node started again")
    assert "style_transfer was killed by SIGKILL: starting it again" in output.getvalue()
    assert starter.nodes["camera"].restarts == starter.nodes["detector"].restarts == 0


def test_every_node_leaves_when_asked(starter: Starter, output: io.StringIO) -> None:
    starter.stop()
    assert {name: node.exit_code for name, node in starter.nodes.items()} == dict.fromkeys(starter.nodes, 0)
    assert "Traceback" not in output.getvalue()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "muon_ad_core.cli", "up", "joint_task", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False, timeout=180)


def test_the_command_stops_by_itself_and_sums_up() -> None:
    done = run_command("--source", "pan", "--duration", "6", "--namespace", "test_up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ran " in done.stdout
    assert "restarts: none" in done.stdout


def test_ctrl_c_ends_the_command_cleanly() -> None:
    command = [sys.executable, "-m", "muon_ad_core.cli", "up", "--source", "none", "--namespace", "test_ctrl_c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as process:
        assert process.stdout is not None
        lines = []
        while sum("serving engine" in line for line in lines) < 2:
            line = process.stdout.readline()
            assert line, "the command ended early"
            lines.append(line)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=180)
    assert process.returncode == 0, rest
    assert "restarts: none" in rest
    assert "Traceback" not in rest


def test_the_command_explains_mistakes() -> None:
    unknown_style = run_command("--style", "no_such_style", "--namespace", "test_up_style")
    assert unknown_style.returncode == 2
    assert "style 'no_such_style' is unknown" in unknown_style.stdout
    unknown_node = run_command("--set", "nobody.rate=1")
    assert unknown_node.returncode == 2
    assert "there is no node 'nobody'" in unknown_node.stderr
    missing_file = run_command("--params-file", "no_such.yaml")
    assert missing_file.returncode == 2
    assert "no_such.yaml" in missing_file.stderr
