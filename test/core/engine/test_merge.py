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
    """The shipped student, as if its level fast were what pruning left of all."""
    root = tmp_path / "pruned"
    shutil.copytree(find_engine("student"), root)
    for graph in root.glob("*.onnx"):
        if graph.name not in ("fast.onnx", "encoder.onnx"):
            shutil.copyfile(root / "fast.onnx", graph)
    return root


def rewrite(root: Path, **changes: object) -> None:
    path = root / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changes}
    manifest = {name: value for name, value in manifest.items() if value is not None}
    manifest["files"] = {name: sha256(root / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


def test_levels_are_added_and_checked(pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    assert main(["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]) == 0
    package = EnginePackage.load(tmp_path / "both")
    names = [level.name for level in package.levels]
    before = [level.name for level in EnginePackage.load(pruned).levels]
    assert sorted(names) == sorted([*before, *(f"{name}_40" for name in before)]) and names[-1].startswith("fine")
    stylizer = Stylizer(package)  # the self-check knows every level
    reference = load_file(package.path("reference.safetensors"))
    assert {f"{name}/painted" for name in names} <= reference.keys()
    frame = np.ascontiguousarray(data.astronaut()[:64, :96])
    painted = {}
    for name in names:
        stylizer.set_level(name)
        painted[name] = stylizer.run(frame).copy()
    assert np.array_equal(painted["fast_40"], painted["fast"]) and not np.array_equal(painted["fine"], painted["fast"])
    assert package.path("fine_40.onnx").read_bytes() == package.path("fast.onnx").read_bytes()


def test_levels_are_chosen_and_renamed(pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    command = ["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both"), "--levels"]
    assert main([*command, "light=fine_40", "fine"]) == 0
    package = EnginePackage.load(tmp_path / "both")
    assert {level.name: level.exit for level in package.levels} == {"light": "fine", "fine": ""}
    assert package.level("light").weights == "weights_40.safetensors"
    assert not (package.root / "fast.onnx").exists()
    card = (package.root / "README.md").read_text()
    assert "| light | int8 |" in card and "| fast |" not in card
    assert main([*command, "fast@1@300000", "light=fast@1@600000"]) == 0
    fast, light = EnginePackage.load(tmp_path / "both").levels
    assert (fast.name, light.name, light.exit) == ("fast", "light", "fine")
    assert (fast.most_pixels, light.most_pixels) == (300000, 600000) and light.macs == 4 * fast.macs
    assert main([*command, "fast@1@300000", "light=fast@0.75@300000"]) == 0
    fast, light = EnginePackage.load(tmp_path / "both").levels
    assert (light.scale, light.most_pixels, light.macs) == (0.75, fast.most_pixels, fast.macs * 9 // 4)
    assert "| light | int8 |" in (tmp_path / "both/README.md").read_text()
    assert "| 480x360 |" in (tmp_path / "both/README.md").read_text()
    assert main([*command, "fast@1@300000", "light=fast@0.7@500000"]) == 0
    fast, light = EnginePackage.load(tmp_path / "both").levels
    assert [(level.scale, level.most_pixels) for level in (fast, light)] == [(1.0, 300000), (0.7, 500000)]
    for size in ("many", "1.5", "-3", "0", "nan", "0.5@many"):
        assert main([*command, f"fast@{size}"]) == 2
        assert "NAME@0.75 or NAME@600000" in capsys.readouterr().err
    assert main([*command, "fast=fast_30"]) == 2
    assert "no level 'fast_30' to merge: choose of fast, " in capsys.readouterr().err
    assert main([*command, "fast", "fast=fast_40"]) == 2
    assert "two levels 'fast'" in capsys.readouterr().err


def test_a_merged_level_keeps_the_local_contrast_it_was_trained_with(pruned: Path, tmp_path: Path) -> None:
    manifest = json.loads((pruned / "manifest.json").read_text())
    levels = [{key: value for key, value in entry.items() if key != "local_contrast"} for entry in manifest["levels"]]
    levels[0]["local_contrast"] = 0.9
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4}, levels=levels, local_contrast=0.3)
    command = ["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both"), "--levels"]
    assert main([*command, f"one={levels[0]['name']}_40", f"two={levels[1]['name']}_40", "fine"]) == 0
    merged = EnginePackage.load(tmp_path / "both")
    assert [merged.level(name).local_contrast for name in ("one", "two")] == [0.9, 0.3]


def test_students_of_one_rate_are_told_apart(pruned: Path, tmp_path: Path) -> None:
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    other = tmp_path / "other"
    shutil.copytree(pruned, other)
    file = other / EnginePackage.load(other).level("fast").weights
    weights, bias = load_file(file), "student.fast_head.bias"
    save_file({**weights, bias: weights[bias] + 1}, file)
    rewrite(other)
    command = ["engine", "merge", "student", str(pruned), str(other), "-o", str(tmp_path / "both"), "--levels"]
    assert main([*command, "fast=fast_40@0.5", "light=fast_40_2@0.7", "fine"]) == 0
    package = EnginePackage.load(tmp_path / "both")
    fast, light = (load_file(package.path(package.level(name).weights)) for name in ("fast", "light"))
    assert np.allclose(light[bias] - fast[bias], 1, atol=1e-2)


def test_a_merged_level_has_the_weights_it_came_with(pruned: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")
    from muon_ad_core.distill.student_package import load_student, named_exit

    weights = load_file(pruned / "weights.safetensors")
    other = {name: value / 2 if name.startswith("student.body") else value for name, value in weights.items()}
    save_file(other, pruned / "weights.safetensors")
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    command = ["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]
    assert main([*command, "--levels", "light=fine_40", "fine"]) == 0
    package = EnginePackage.load(tmp_path / "both")
    light, fine = named_exit(package, "light"), named_exit(package, "fine")
    assert (light.exit, fine.exit) == ("fine", "fine")
    name = "body.0.first.weight"
    assert torch.allclose(light.student.state_dict()[name] * 2, fine.student.state_dict()[name], atol=1e-3)
    assert torch.equal(load_student(package).student.state_dict()[name], fine.student.state_dict()[name])


def test_strangers_are_refused(pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(pruned, pruning=None)
    assert main(["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]) == 2
    assert "is no pruned student" in capsys.readouterr().err
    assert main(["engine", "merge", "student", "-o", str(tmp_path / "both")]) == 2
    assert "nothing to merge" in capsys.readouterr().err
    codes = load_file(pruned / "styles.safetensors")
    save_file({name: code + 1 for name, code in codes.items()}, pruned / "styles.safetensors")
    rewrite(pruned, pruning={"method": "gradual", "rate": 0.4})
    assert main(["engine", "merge", "student", str(pruned), "-o", str(tmp_path / "both")]) == 2
    assert "has other style codes than student" in capsys.readouterr().err
    student = str(find_engine("student"))
    assert main(["engine", "merge", "student", str(pruned), "-o", student]) == 2
    assert "name another folder" in capsys.readouterr().err


def test_an_encoder_that_was_trained_by_itself_is_put_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student, trained = find_engine("student"), tmp_path / "trained"
    shutil.copytree(student, trained)
    weights = load_file(trained / "weights.safetensors")
    save_file({name: value * 0 + 1 for name, value in weights.items()}, trained / "weights.safetensors")
    (trained / "encoder.onnx").write_bytes((trained / "encoder.onnx").read_bytes() + b"\0\0")
    manifest = json.loads((trained / "manifest.json").read_text())
    training = {"frozen_student": True, "pruning_steps": 21, "steps_done": 4300}
    rewrite(trained, training={**manifest["training"], **training})
    command = ["engine", "merge", "student", "--encoder", str(trained), "-o", str(tmp_path / "both")]
    assert main(command) == 0
    package = EnginePackage.load(tmp_path / "both")
    assert (package.root / "encoder.onnx").read_bytes() == (trained / "encoder.onnx").read_bytes()
    for file in ("weights.safetensors", "weights_40.safetensors"):
        before, after = load_file(student / file), load_file(package.root / file)
        for name, value in after.items():
            of_the_encoder = name.startswith(("encoder.", "offsets"))
            assert np.array_equal(value, value * 0 + 1 if of_the_encoder else before[name]), name
    card = (package.root / "README.md").read_text()
    assert "--steps 4321" in card and "--frozen-student" in card
    codes = load_file(trained / "styles.safetensors")
    save_file({name: code + 1 for name, code in codes.items()}, trained / "styles.safetensors")
    rewrite(trained)
    assert main(command) == 2
    assert "has other style codes than both" in capsys.readouterr().err
