# SPDX-License-Identifier: Apache-2.0
"""The starter: merged output, restarts, the spare process, clean stop, exit code. Scripts stand in for nodes."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from muon_ad_core.errors import ParameterError
from muon_ad_core.machine import PROFILE_VARIABLES
from muon_ad_ros import node_process, participants
from muon_ad_ros import starter as starter_module
from muon_ad_ros.bringup import NodeSpec
from muon_ad_ros.child_process import ChildProcess
from muon_ad_ros.environment import apply_dds_profile, child_environment
from muon_ad_ros.node_process import NodeProcess
from muon_ad_ros.starter import Starter, StartOptions, node_command, parse_override

STEADY_NODE = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
STUBBORN_NODE = (
    "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"
)
STAND_IN = """
import signal, sys, time

def main():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    print("became", *sys.argv, flush=True)
    time.sleep(600)
"""
PATIENCE = 60.0  # seconds; far more than anything here takes


def make_starter(scripts: dict[str, str], respawn: bool = True) -> tuple[Starter, io.StringIO]:
    output = io.StringIO()
    specs = [NodeSpec(name, name) for name in scripts]

    def command_of(spec: NodeSpec, options: StartOptions) -> list[str]:
        return [sys.executable, "-c", scripts[spec.name]]

    environment = dict(os.environ)
    apply_dds_profile(environment)
    return Starter(specs, StartOptions(respawn=respawn), environment, output, command_of), output


def spawn(command: Sequence[str]) -> ChildProcess:
    return ChildProcess(command, os.environ)


def step_until(starter: Starter, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        starter.step(0.05)


def has_been_said(output: io.StringIO, words: str, times: int) -> bool:
    return output.getvalue().count(words) >= times


def test_output_is_merged_line_by_line_under_the_nodes_names() -> None:
    starter, output = make_starter({"camera": "print('one'); print('two')", "style_transfer": "print('three', end='')"})
    assert starter.run() == 0
    lines = output.getvalue().splitlines()
    assert "        camera | one" in lines
    assert "        camera | two" in lines
    assert "style_transfer | three" in lines
    assert any("camera has finished" in line for line in lines)


def test_a_killed_node_is_named_and_started_again() -> None:
    starter, output = make_starter({"camera": STEADY_NODE, "detector": STEADY_NODE})
    starter.start()
    try:
        step_until(starter, lambda: output.getvalue().count("ready") == 2)
        first = starter.nodes["detector"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        step_until(starter, lambda: output.getvalue().count("ready") == 3)
        assert starter.nodes["detector"].pid not in (None, first)
        assert starter.nodes["detector"].restarts == 1
        assert starter.nodes["camera"].restarts == 0
        assert "detector was killed by SIGKILL: starting it again\n" in output.getvalue()
    finally:
        starter.stop()
    assert starter.exit_code == 0


def test_no_process_gets_the_participant_id_of_another_nor_soon_that_of_one_that_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(node_process, "HEALTHY", 0.0)
    # Ports that killed nodes of other tests left would leave too few ids.
    monkeypatch.setattr(participants, "SHARED_MEMORY", tmp_path)
    say_profile = f"import os\nprint('profile', os.environ['{PROFILE_VARIABLES[0]}'], flush=True)\n"
    starter, output = make_starter({"camera": say_profile + STEADY_NODE, "detector": say_profile + STEADY_NODE})
    starter.start()
    try:
        step_until(starter, lambda: "detector | ready" in output.getvalue())
        for _ in range(8):
            wanted = starter.nodes["camera"].restarts + 1
            step_until(starter, partial(has_been_said, output, "camera | ready", wanted))
            pid = starter.nodes["camera"].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            step_until(starter, partial(has_been_said, output, "camera was killed", wanted))
        step_until(starter, partial(has_been_said, output, "camera | ready", 9))
    finally:
        starter.stop()
    profiles = [line.split()[-1] for line in output.getvalue().splitlines() if "| profile " in line]
    assert len(set(profiles)) == len(profiles) == 10


def test_participant_ids_of_processes_that_ended_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_process, "HEALTHY", 0.0)
    monkeypatch.setattr(participants, "IDS", range(2))
    starter, output = make_starter({"camera": "print('ready', flush=True)\nraise SystemExit(7)"})
    starter.start()
    try:
        step_until(starter, lambda: output.getvalue().count("ready") >= 4)
    finally:
        starter.stop()


def test_a_node_that_keeps_crashing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_process, "PAUSES", (0.0, 0.01, 0.01))
    monkeypatch.setattr(node_process, "HEALTHY", PATIENCE)
    starter, output = make_starter({"camera": "raise SystemExit(7)"})
    assert starter.run() == 1
    assert starter.nodes["camera"].restarts == 3
    assert "camera could not be kept alive: it crashed 4 times in a row" in output.getvalue()


def test_the_first_restart_is_immediate_and_the_pause_before_each_further_one_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_process, "HEALTHY", PATIENCE)
    node = NodeProcess("camera", [sys.executable, "-c", "raise SystemExit(7)"], spawn)
    process = node.start()
    words = [node.plan_restart(respawn=True) for _ in range(5)]
    process.close_output()
    pauses = ("", " in 0.25 s", " in 1 s", " in 4 s", " in 8 s")
    assert words == [f"starting it again{pause}" for pause in pauses]


def test_a_crash_after_a_healthy_life_counts_as_a_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_process, "HEALTHY", 0.0)
    node = NodeProcess("camera", [sys.executable, "-c", "raise SystemExit(7)"], spawn)
    process = node.start()
    assert [node.plan_restart(respawn=True) for _ in range(9)] == ["starting it again"] * 9
    process.close_output()


def start_with_spare(folder: Path, spare_of: str) -> tuple[Starter, io.StringIO]:
    """A starter of one node, the module stand_in, whose spare process imports the executable `spare_of`."""
    (folder / "stand_in.py").write_text(STAND_IN)
    output = io.StringIO()
    environment = child_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *sys.path])
    command = [sys.executable, "-m", "muon_ad_ros.run", "stand_in", "--ros-args", "one"]
    specs, options = [NodeSpec("detector", spare_of)], StartOptions(spare=True)
    return Starter(specs, options, environment, output, lambda *_: command), output


def test_a_spare_process_takes_the_place_of_one_that_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "SPARE_AFTER", 0.0)
    starter, output = start_with_spare(tmp_path, "bringup")
    starter.start()
    try:
        step_until(starter, lambda: "became stand_in --ros-args one" in output.getvalue())
        first = starter.nodes["detector"].pid
        assert first is not None
        step_until(starter, lambda: starter.spare_pid is not None)
        spare = starter.spare_pid
        assert spare not in (None, first)
        os.kill(first, signal.SIGKILL)
        step_until(starter, lambda: output.getvalue().count("became stand_in --ros-args one") == 2)
        assert starter.nodes["detector"].pid == spare
        step_until(starter, lambda: starter.spare_pid not in (None, spare))  # another one waits
        second = starter.spare_pid
        assert second is not None
    finally:
        starter.stop()
    assert not is_alive(second)


def test_without_a_working_spare_process_nodes_are_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter_module, "SPARE_AFTER", 0.0)
    starter, output = start_with_spare(tmp_path, "no_such_executable")
    starter.start()
    try:
        step_until(starter, lambda: "the spare process ended with exit code 1" in output.getvalue())
        first = starter.nodes["detector"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        step_until(starter, lambda: output.getvalue().count("became stand_in") == 2)
        assert starter.nodes["detector"].pid not in (None, first)
    finally:
        starter.stop()


def test_without_respawn_a_crash_is_final_but_the_others_go_on() -> None:
    starter, output = make_starter({"camera": "raise SystemExit(7)", "detector": STEADY_NODE}, respawn=False)
    assert starter.run(duration=2.0) == 1
    assert "camera crashed with exit code 7: not starting it again" in output.getvalue()
    assert "detector could not be kept alive" not in output.getvalue()


def test_a_users_mistake_ends_the_whole_run() -> None:
    mistake = "import sys\nprint('style nope is unknown')\nsys.exit(2)"
    starter, output = make_starter({"style_transfer": mistake, "detector": STEADY_NODE})
    assert starter.run() == 2
    assert "style nope is unknown" in output.getvalue()
    assert starter.nodes["style_transfer"].restarts == 0
    assert not starter.nodes["detector"].running


def test_a_node_that_ignores_the_interrupt_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "STOP_SIGNALS", ((signal.SIGINT, 0.3), (signal.SIGTERM, PATIENCE)))
    starter, output = make_starter({"detector": STUBBORN_NODE})
    starter.start()
    step_until(starter, lambda: "ready" in output.getvalue())
    starter.stop()
    assert "detector did not stop: sending SIGTERM" in output.getvalue()
    assert starter.nodes["detector"].exit_code == -signal.SIGTERM


@pytest.mark.parametrize("interrupts", [signal.SIG_DFL, signal.SIG_IGN], ids=["foreground", "background of a shell"])
def test_nodes_end_with_the_starter_however_it_dies(interrupts: signal.Handlers) -> None:
    script = f"""
import os, sys
from muon_ad_ros.bringup import NodeSpec
from muon_ad_ros.starter import Starter, StartOptions
command = [sys.executable, "-c", {STEADY_NODE!r}]
starter = Starter([NodeSpec("camera", "camera")], StartOptions(), os.environ, command_of=lambda *_: command)
starter.start()
print(starter.nodes["camera"].pid, flush=True)
while True: starter.step(1.0)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    before = signal.signal(signal.SIGINT, interrupts)  # children inherit it
    try:
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert "ready" in parent.stdout.readline()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + PATIENCE
    while is_alive(child):
        assert time.monotonic() < deadline, "the node outlived its starter"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_command_line_carries_names_files_and_parameters() -> None:
    options = StartOptions(
        namespace="robot1", overrides={"camera": {"rate": "15.0"}}, log_level="debug", use_sim_time=True
    )
    command = node_command(NodeSpec("camera", "scene_camera", {"scene": "pan"}), options)
    assert command[1:4] == ["-m", "muon_ad_ros.run", "muon_ad_ros.scene_camera"]
    for part in ("__node:=camera", "__ns:=/robot1", 'scene:="pan"', "rate:=15.0", "use_sim_time:=true", "debug"):
        assert part in command
    assert command.index('scene:="pan"') < command.index("rate:=15.0")


def test_overrides_are_parsed_and_mistakes_refused() -> None:
    assert parse_override("style_transfer.scheduling.policy=FIFO") == ("style_transfer", "scheduling.policy", "FIFO")
    assert parse_override("detector.classes=['a=b']") == ("detector", "classes", "['a=b']")
    for text in ("strength=0.5", "style_transfer.strength", ".strength=1", "style_transfer.=1"):
        with pytest.raises(ParameterError, match="not of the form"):
            parse_override(text)
    with pytest.raises(ParameterError, match="no node 'stlye_transfer'"):
        Starter([NodeSpec("camera", "c")], StartOptions(overrides={"stlye_transfer": {"a": "1"}}), os.environ)
