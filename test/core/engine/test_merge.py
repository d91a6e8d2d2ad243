# SPDX-License-Identifier: Apache-2.0
"""Levels of pruned students in one package with the whole one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from skimage import data

from muon_ad_core.cli import main
from muon_ad_core.engine.package import EnginePackage, find_engine, sha256
from muon_ad_core.stylize import Stylizer


@pytest.fixture()
def pruned(tmp_path: Path) -> Path:
    """The shipped student, as if its level fast were what pruning left of both."""
    root = tmp_path / "pruned"
    shutil.copytree(find_engine("student"), root)
    shutil.copyfile(root / "fast.onnx", root / "fine.onnx")
    return root


def rewrite(root: Path, **changes: object) -> None:
    path = root / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changes}
    manifest["files"] = {name: sha256(root / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


def test_levels_are_added_and_checked(pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    assert main(["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]) == 0
    package = EnginePackage.load(tmp_path / "both")
    names = [level.name for level in package.levels]
    assert sorted(names) == ["fast", "fast_40", "fine", "fine_40"] and names[-1].startswith("fine")
    stylizer = Stylizer(package)  # the self-check knows every level
    reference = load_file(package.path("reference.safetensors"))
    assert {f"{name}/painted" for name in names} <= reference.keys()
    frame = np.ascontiguousarray(data.astronaut()[:64, :96])
    painted = {}
    for name in names:
        stylizer.set_level(name)
        painted[name] = stylizer.run(frame).copy()
    assert np.array_equal(painted["fine_40"], painted["fast"]) and not np.array_equal(painted["fine"], painted["fast"])


def test_strangers_are_refused(pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(pruned)
    assert main(["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]) == 2
    assert "is no pruned student" in capsys.readouterr().err
    codes = load_file(pruned / "styles.safetensors")
    save_file({name: code + 1 for name, code in codes.items()}, pruned / "styles.safetensors")
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    assert main(["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]) == 2
    assert "has other style codes than student" in capsys.readouterr().err
    student = str(find_engine("student"))
    assert main(["engine", "merge", "student", str(pruned), "-o", student]) == 2
    assert "name another folder" in capsys.readouterr().err
