# SPDX-License-Identifier: Apache-2.0
"""The node table, and the launch file and the shipped parameters that follow it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from muon_ad_core.sources.scene import SCENES as CORE_SCENES
from muon_ad_ros import bringup
from muon_ad_ros.bringup import (
    CAMERAS_ARGUMENTS,
    LAUNCH_ARGUMENTS,
    SCENES,
    NodeSpec,
    cameras,
    joint_task,
    parameter_file,
)

LAUNCH_FILES = Path(__file__).resolve().parents[2] / "launch"


def executables(source: str) -> dict[str, str]:
    return {spec.name: spec.executable for spec in joint_task(source)}


def test_the_joint_task_has_camera_style_detector_and_scheduler() -> None:
    assert executables("motorcycle") == {
        "camera": "scene_camera",
        "style_transfer": "style_transfer",
        "detector": "detector",
        "scheduler": "scheduler",
    }


def test_the_source_chooses_the_camera(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    recording.mkdir()
    (recording / "metadata.yaml").touch()
    assert executables("pan")["camera"] == "scene_camera"
    assert executables("clip.mp4")["camera"] == "video_camera"
    assert executables("/dev/video0")["camera"] == "video_camera"
    assert executables("walk.mcap")["camera"] == "bag_player"
    assert executables(str(recording))["camera"] == "bag_player"
    assert "camera" not in executables("none")


def test_depth_cameras_and_csi_cameras_take_the_cameras_place() -> None:
    by_name = {spec.name: spec for spec in joint_task("realsense:0415")}
    assert by_name["camera"].executable == "realsense_camera"
    assert by_name["camera"].parameters == {"serial": "_0415", "aligned_depth": True}
    assert by_name["detector"].remappings == {"depth/image_rect_raw": "aligned_depth_to_color/image_raw"}
    emulated, *_ = joint_task("emulated_d415")
    assert emulated.parameters == {"source": "emulated_d415", "aligned_depth": True}
    csi, *_ = joint_task("csi:nvargus:1")
    assert (csi.executable, csi.parameters) == ("csi_camera", {"source": "nvargus:1"})
    assert csi.remappings["csi/image_raw"] == "color/image_raw"


def test_the_cameras_task_pairs_the_streams_there_are() -> None:
    by_name = {spec.name: spec for spec in cameras("realsense", "pattern", require_clock_locked=True)}
    assert set(by_name) == {"camera", "csi_camera", "frame_sync", "clock_monitor"}  # which the pairing waits for
    assert by_name["csi_camera"].parameters == {"source": "pattern"}
    pairing = {"streams": ["color", "depth", "csi"], "require_clock_locked": True}
    assert by_name["frame_sync"].parameters == pairing
    assert [spec.name for spec in cameras()] == ["camera", "frame_sync"]


def test_the_clock_is_watched_where_there_is_a_ptp4l(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watched(clock: str) -> bool:
        return "clock_monitor" in {spec.name for spec in cameras(clock=clock)}

    monkeypatch.setattr(bringup, "usual_socket", lambda: str(tmp_path / "ptp4l"))
    assert [watched(clock) for clock in ("auto", "true", "false")] == [False, True, False]
    (tmp_path / "ptp4l").touch()
    assert [watched(clock) for clock in ("auto", "true", "false")] == [True, True, False]


def test_the_view_is_there_when_asked_for() -> None:
    assert "live_view" not in {spec.name for spec in joint_task()}
    assert {spec.name: spec.executable for spec in joint_task(view=True)}["live_view"] == "live_view"


def test_the_scenes_are_those_of_the_library() -> None:
    assert set(SCENES) == set(CORE_SCENES)


def test_the_style_is_passed_on_only_when_given() -> None:
    by_name = {spec.name: spec for spec in joint_task(style="ukiyo_e")}
    assert by_name["style_transfer"].parameters == {"style": "ukiyo_e"}
    assert {spec.name: spec for spec in joint_task()}["style_transfer"].parameters == {}


@pytest.mark.parametrize(
    ("task", "table"), [("joint_task", joint_task()), ("cameras", cameras(csi="pattern", clock="true"))]
)
def test_the_shipped_parameters_name_nodes_of_the_table(task: str, table: list[NodeSpec]) -> None:
    names = {spec.name for spec in table}
    shipped = yaml.safe_load(parameter_file(task).read_text())
    assert {pattern.rsplit("/", 1)[-1] for pattern in shipped} <= names
    assert all(set(content) == {"ros__parameters"} for content in shipped.values())


class Recorded(SimpleNamespace):
    """Stands for any class of launch and launch_ros: remembers its arguments."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(positional=arguments, **named)


class FakeLaunchConfiguration:
    """A launch argument's value, looked up in the fake context, which is a plain dict."""

    def __init__(self, name: str) -> None:
        self._name = name

    def perform(self, context: dict[str, str]) -> str:
        return context[self._name]


def fake_module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    for member, value in members.items():
        setattr(module, member, value)
    return module


def load_launch_file(task: str) -> ModuleType:
    sys.modules.pop("muon_ad_ros.launching", None)  # it may hold another test's stand-ins
    specification = importlib.util.spec_from_file_location(f"{task}_launch", LAUNCH_FILES / f"{task}.launch.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def fake_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for launch and launch_ros, which PyPI does not have."""
    actions = {name: Recorded for name in ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable")}
    modules = [
        fake_module("launch", LaunchContext=dict, LaunchDescription=list),
        fake_module("launch.actions", **actions),
        fake_module("launch.substitutions", LaunchConfiguration=FakeLaunchConfiguration),
        fake_module("launch_ros"),
        fake_module("launch_ros.actions", Node=Recorded),
    ]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("fake_launch")
def test_the_launch_file_of_the_cameras_starts_its_table() -> None:
    module = load_launch_file("cameras")
    context = {argument.name: argument.default for argument in CAMERAS_ARGUMENTS}
    context.update(source="csi", csi="pattern", clock="false")
    started = module.start_nodes(context)
    assert [node.name for node in started] == ["camera", "csi_camera", "frame_sync"]
    assert ("csi/image_raw", "color/image_raw") in started[0].remappings
    assert Path(started[0].parameters[0]) == parameter_file("cameras")


@pytest.mark.usefixtures("fake_launch")
def test_the_launch_file_starts_the_node_table() -> None:
    module = load_launch_file("joint_task")
    context = {argument.name: argument.default for argument in LAUNCH_ARGUMENTS}
    context.update(
        source="pan", style="ukiyo_e", namespace="robot1", use_respawn="true", use_sim_time="true", view="true"
    )
    started = module.start_nodes(context)
    table = joint_task("pan", "ukiyo_e", use_sim_time=True, view=True)
    assert [(node.name, node.executable) for node in started] == [(spec.name, spec.executable) for spec in table]
    for node, spec in zip(started, table):
        file, parameters = node.parameters
        assert Path(file) == parameter_file("joint_task")
        assert parameters == {"use_sim_time": True, "autostart": True, **spec.parameters}
        assert (node.namespace, node.respawn, node.package) == ("robot1", True, "muon_ad_ros")
    description = module.generate_launch_description()
    declared = [action.positional[0] for action in description if hasattr(action, "description")]
    assert declared == [argument.name for argument in LAUNCH_ARGUMENTS]


def test_the_launch_file_is_understood_by_launch() -> None:
    if importlib.util.find_spec("launch_ros") is None:
        pytest.skip("launch_ros is not installed (PyPI does not have it)")
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument

    module = load_launch_file("joint_task")
    description = module.generate_launch_description()
    context = LaunchContext()
    for action in description.entities:
        if isinstance(action, DeclareLaunchArgument):
            action.execute(context)
    assert [node.node_executable for node in module.start_nodes(context)] == [spec.executable for spec in joint_task()]


def test_the_launch_arguments_are_those_promised() -> None:
    assert [argument.name for argument in LAUNCH_ARGUMENTS] == [
        "source", "style", "namespace", "params_file", "use_sim_time", "log_level", "autostart", "use_respawn", "view"
    ]  # fmt: skip
    assert all(argument.description for argument in LAUNCH_ARGUMENTS)
