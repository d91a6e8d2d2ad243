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
from muon_ad_core.detect.detector import Detector
from muon_ad_core.detect.nms import box_iou
from muon_ad_core.distill import student_graphs
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.stylize import Stylizer


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, picture in (("a", data.astronaut()), ("b", data.chelsea()), ("c", data.coffee())):
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
    return folder


def test_a_student_is_exported_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_graphs, "CALIBRATION_FRAMES", 12)
    monkeypatch.setattr(student_graphs, "CALIBRATION_SIDE", 128)
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


def test_a_detector_is_exported_again(photos: Path, tmp_path: Path) -> None:
    assert main(["engine", "export", "detector_pruned", "--photos", str(photos), "-o", str(tmp_path / "new")]) == 0
    old, new = EnginePackage.load(find_engine("detector_pruned")), EnginePackage.load(tmp_path / "new")
    assert set(new.manifest["files"]) == set(old.manifest["files"])
    assert new.manifest["classes"] == old.manifest["classes"] and new.levels == old.levels
    assert new.manifest["metrics"] == {}  # of graphs that nobody has measured
    for level in ("int8", "float"):
        expected, found = (Detector(package, level=level).run(data.astronaut()) for package in (old, new))
        assert found.labels.tolist() == expected.labels.tolist() == [0]
        assert box_iou(found.boxes, expected.boxes).max() > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["student", "--validation", "boxes.json"], "student paints: --validation is for detectors"),
        (["detector", "--fidelity", "0.99"], "detector detects: --fidelity is for students"),
        (["detector", "--validation", "no.json"], "no.json"),
        (["teacher"], "graphs are of students and detectors alone"),
    ],
)
def test_what_makes_no_sense_is_refused(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["engine", "export", *arguments, "--photos", str(photos)]) == 2
    assert message in capsys.readouterr().err
