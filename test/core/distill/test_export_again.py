# SPDX-License-Identifier: Apache-2.0
"""``muon-ad engine export``: the graphs anew, everything else as it was."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the making wing needs PyTorch")
pytest.importorskip("onnx", reason="the making wing needs onnx")

from skimage import data

from muon_ad_core.cli import main
from muon_ad_core.distill import student_graphs
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.stylize import Stylizer


def test_a_student_is_exported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(student_graphs, "CALIBRATION_FRAMES", 12)
    monkeypatch.setattr(student_graphs, "CALIBRATION_SIDE", 128)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, picture in (("a", data.astronaut()), ("b", data.chelsea()), ("c", data.coffee())):
        cv2.imwrite(str(photos / f"{name}.png"), picture[..., ::-1])
    assert main(["engine", "export", "student", "--photos", str(photos), "-o", str(tmp_path / "new")]) == 0
    old, new = EnginePackage.load(find_engine("student")), EnginePackage.load(tmp_path / "new")
    same = [name for name in old.manifest["files"] if name.startswith(("styles", "weights", "encoder"))]
    assert all(old.manifest["files"][name] == new.manifest["files"][name] for name in same)
    assert [(level.name, level.exit, level.weights) for level in new.levels] == [
        (level.name, level.exit, level.weights) for level in old.levels
    ]
    assert (new.name, new.version, new.manifest["styles"]) == (old.name, old.version, old.manifest["styles"])
    stylizers = Stylizer(old), Stylizer(new)
    painted = []
    for stylizer in stylizers:
        stylizer.set_level("fine")
        painted.append(stylizer.run(np.ascontiguousarray(data.coffee()[:240, :320])).astype(int))
    assert np.abs(painted[0] - painted[1]).mean() < 8  # ranges from fewer photographs, the same network


def test_what_is_no_student_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "export", "detector", "--photos", str(tmp_path)]) == 2
    assert "engine detector holds no student's weights" in capsys.readouterr().err
