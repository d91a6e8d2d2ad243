# SPDX-License-Identifier: Apache-2.0
"""The shipped detector on a real picture, and what it refuses."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from muon_ad_core.detect.decoders.base import grid_locations
from muon_ad_core.detect.detector import Detections, Detector
from muon_ad_core.detect.nms import box_iou
from muon_ad_core.engine.onnxruntime_runtime import OnnxRuntimeGraph
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.engine.runtime import Arrays, available_backends
from muon_ad_core.errors import EngineError, ParameterError

PERSON = np.array([[10, 0, 460, 512]], np.float32)  # of skimage's astronaut, 512 x 512


@pytest.fixture(scope="module")
def package() -> EnginePackage:
    return EnginePackage.load(find_engine("detector_pruned"))


@pytest.fixture(scope="module")
def detector(package: EnginePackage) -> Detector:
    return Detector(package)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return skimage.data.astronaut()


def assert_person(found: Detections, expected: np.ndarray) -> None:
    people = found.boxes[found.labels == 0]
    assert len(people), "no person found"
    assert box_iou(people, expected).max() > 0.5


@pytest.mark.parametrize("level", ["int8", "float"])
@pytest.mark.parametrize("backend", available_backends())
def test_every_level_and_backend_finds_the_astronaut(
    package: EnginePackage, astronaut: np.ndarray, level: str, backend: str
) -> None:
    detector = Detector(package, backend=backend, level=level)
    assert detector.classes[0] == "person"
    assert_person(detector.run(astronaut), PERSON)


def test_a_runtime_that_computes_wrongly_is_refused(package: EnginePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    class Halved(OnnxRuntimeGraph):
        def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
            return {name: array / 2 for name, array in super().run(inputs).items()}

    monkeypatch.setattr("muon_ad_core.detect.detector.open_graph", lambda path, backend, threads: Halved(path, threads))
    with pytest.raises(EngineError, match="computes level int8 of detector_pruned wrongly on this machine"):
        Detector(package)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (333, 777), (1024, 512), (100, 100)])
def test_boxes_are_in_pixels_of_any_picture_size(
    detector: Detector, astronaut: np.ndarray, height: int, width: int
) -> None:
    side = min(height, width)
    canvas = np.full((height, width, 3), 90, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    canvas[top : top + side, left : left + side] = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    found = detector.run(canvas, score_threshold=0.05)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert_person(found, PERSON * side / 512 + [left, top, left, top])


@pytest.mark.parametrize(("height", "width"), [(480, 640), (512, 1024)])
def test_boxes_follow_the_picture_when_it_moves(
    detector: Detector, astronaut: np.ndarray, height: int, width: int
) -> None:
    """The same content twice as large has the same boxes, twice as large."""
    picture = np.ascontiguousarray(np.tile(astronaut, (1, 2, 1))[:height, :width])
    double = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    expected, found = (detector.run(frame, score_threshold=0.2) for frame in (picture, double))
    assert len(found) == len(expected) > 0
    assert found.boxes == pytest.approx(2 * expected.boxes, abs=2)


def test_a_motorcycle_is_found_for_what_it_is(detector: Detector) -> None:
    picture = np.ascontiguousarray(skimage.data.stereo_motorcycle()[0][..., :3])
    found = detector.run(picture, score_threshold=0.4)
    assert [detector.classes[label] for label in found.labels] == ["motorcycle"]


def test_sizes_may_alternate_and_runs_repeat(detector: Detector, astronaut: np.ndarray) -> None:
    first = detector.run(astronaut)
    detector.run(np.ascontiguousarray(astronaut[:200]))
    again = detector.run(astronaut)
    assert (first.boxes == again.boxes).all()
    assert (first.scores == again.scores).all()


def test_results_outlive_the_next_run(detector: Detector, astronaut: np.ndarray) -> None:
    found = detector.run(astronaut)
    kept = found.boxes.copy()
    detector.run(np.zeros_like(astronaut))
    assert (found.boxes == kept).all()


def test_thresholds_and_classes_limit_what_is_found(detector: Detector, astronaut: np.ndarray) -> None:
    many = detector.run(astronaut, score_threshold=0.05)
    assert (many.scores > 0.05).all()
    assert (np.diff(many.scores) <= 0).all()
    assert len(detector.run(astronaut, score_threshold=0.9)) <= len(many)
    assert set(detector.run(astronaut, 0.05, classes=frozenset({0})).labels.tolist()) == {0}
    assert len(detector.run(astronaut, 0.05, classes=frozenset())) == 0


def test_picture_that_is_not_contiguous(detector: Detector, astronaut: np.ndarray) -> None:
    mirrored = astronaut[:, ::-1]
    assert detector.run(mirrored).boxes.tolist() == detector.run(np.ascontiguousarray(mirrored)).boxes.tolist()


@pytest.mark.parametrize(
    "picture", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((0, 10, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(detector: Detector, picture: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="RGB uint8"):
        detector.run(picture)


@pytest.mark.parametrize("options", [{"score_threshold": 0.0}, {"score_threshold": 1.5}, {"iou_threshold": -1}])
def test_thresholds_out_of_range_are_refused(
    detector: Detector, astronaut: np.ndarray, options: dict[str, float]
) -> None:
    with pytest.raises(ParameterError, match="between 0 and 1"):
        detector.run(astronaut, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "other"}, "decoder 'other'"),
        ({"task": "style"}, "is for style"),
        ({"strides": None}, "lacks classes, input_size or strides"),
    ],
)
def test_other_engines_are_refused(
    package: EnginePackage, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    root = tmp_path / "changed"
    shutil.copytree(package.root, root)
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    with pytest.raises(EngineError, match=message):
        Detector(EnginePackage.load(root))


def test_shipped_package_tells_what_it_is(package: EnginePackage) -> None:
    assert len(package.manifest["classes"]) == 80
    assert {"ap_int8", "ap50_int8", "person_ap50_int8"} <= package.manifest["metrics"].keys()
    assert package.manifest["training"]["data"]
    locations, _ = grid_locations(*package.manifest["input_size"], tuple(package.manifest["strides"]))
    assert len(locations) > 0
    # What runs is small; float graph and weights are there to train on.
    assert package.path(package.level("int8").graph).stat().st_size < 5_000_000
