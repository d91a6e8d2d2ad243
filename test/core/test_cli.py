# SPDX-License-Identifier: Apache-2.0
"""The muon-ad command: help, exit codes, and what it imports."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from muon_ad_core import __version__, cli
from muon_ad_core.errors import EngineError, UserError
from muon_ad_core.machine import CHECKOUT


def use_command(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    """Make ``muon-ad probe --number N`` call ``run``."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--number", type=int, default=0)

    monkeypatch.setitem(cli.COMMANDS, "probe", ("look", "a command of this test"))
    module = SimpleNamespace(add_arguments=add_arguments, run=run, __doc__="A command of this test.")
    monkeypatch.setitem(sys.modules, "muon_ad_core.commands.probe", module)


def test_without_a_command_help_lists_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in cli.COMMANDS)
    assert "examples:" in text


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_exists_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([name, "--help"])
    assert stopped.value.code == 0
    assert f"usage: muon-ad {name}" in capsys.readouterr().out


def test_every_example_names_a_command_and_every_command_has_a_group() -> None:
    examples = [line.split() for line in cli.EXAMPLES.splitlines() if line.startswith("  muon-ad")]
    assert examples and all(words[1] in cli.COMMANDS for words in examples)
    assert {group for group, _ in cli.COMMANDS.values()} <= set(cli.GROUPS)


def test_every_command_module_is_listed() -> None:
    names = {path.stem for path in (CHECKOUT / "muon_ad_core" / "commands").glob("*.py")} - {"__init__"}
    top_level = {name for name in names if not any(name.startswith(f"{other}_") for other in names)}
    assert top_level == set(cli.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"muon-ad {__version__}\n"


def test_the_version_is_the_same_everywhere() -> None:
    files = ("package.xml", "msg/package.xml", "setup.py")
    assert all(__version__ in (CHECKOUT / name).read_text() for name in files)


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["paint"])
    assert stopped.value.code == 2
    assert "invalid choice: 'paint'" in capsys.readouterr().err


def test_arguments_reach_the_command_and_its_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    use_command(monkeypatch, lambda arguments: arguments.number)
    assert cli.main(["probe", "--number", "7"]) == 7


@pytest.mark.parametrize("error", [UserError, EngineError])
def test_a_user_s_mistake_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[UserError]
) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise error("engine 'x' not found: give a folder or one of student, detector")

    use_command(monkeypatch, run)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == (
        "muon-ad probe: engine 'x' not found: give a folder or one of student, detector\n"
    )


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise ZeroDivisionError

    use_command(monkeypatch, run)
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe"])


def test_control_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    use_command(monkeypatch, run)
    assert cli.main(["probe"]) == 130


def test_help_loads_no_heavy_module() -> None:
    program = (
        "import sys, json; from muon_ad_core import cli; cli.main([]); "
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert not loaded & {"numpy", "cv2", "openvino", "torch", "rclpy", "matplotlib", "rich", "yaml"}


@pytest.mark.skipif(not importlib.util.find_spec("rclpy"), reason="needs ROS: . ./env.sh, or make test")
def test_the_installed_command_runs_without_anything_sourced() -> None:
    command = CHECKOUT / ".venv" / "bin" / "muon-ad"
    if not command.exists():
        pytest.skip("this checkout was not set up by make")
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/"}
    result = subprocess.run([command, "--version"], env=environment, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == (f"muon-ad {__version__}\n", "")
