# SPDX-License-Identifier: Apache-2.0
"""Average precision of made-up detectors: perfect, empty, and ones that mistake the class or the place."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="average precision needs pycocotools")

from muon_ad_core import cli
from muon_ad_core.bench.result_file import read_document
from muon_ad_core.detect.detector import Detections
from muon_ad_core.distill.coco_file import CocoFile, read_coco_file
from muon_ad_core.errors import UserError
from muon_ad_core.metrics import detection
from muon_ad_core.metrics.detection import evaluate_detector

CLASSES = ("person", "car", "ship")
BOX = [8.0, 6.0, 24.0, 20.0]


def write_coco(folder: Path, pictures: int = 1, **changes: Any) -> Path:
    """Pictures of half the annotated size, each with a person and a car at the same place."""
    images, annotations = [], []
    for number in range(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((24, 32, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
        annotations += [{"image_id": number, "category_id": category, "bbox": BOX} for category in (1, 2)]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}, {"id": 3, "name": "unicorn"}]
    file = folder / "coco.json"
    document = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps({**document, **changes}))
    return file


@pytest.fixture
def coco(tmp_path: Path) -> CocoFile:
    return read_coco_file(write_coco(tmp_path), CLASSES)


def find(labels: Sequence[int], shift: float = 0.0) -> Callable[[np.ndarray], Detections]:
    """A detector that always sees BOX, in the file's pixels and shifted, of these classes."""
    x, y, width, height = (value / 2 for value in BOX)
    boxes = np.array([[x + shift, y, x + width + shift, y + height]] * len(labels)).reshape(-1, 4)
    return lambda rgb: Detections(boxes, np.full(len(labels), 0.9), np.array(labels, int))


@pytest.mark.parametrize(("labels", "ap", "person"), [((0, 1), 1.0, 1.0), ((1,), 0.5, 0.0), ((), 0.0, 0.0)])
def test_average_precision(coco: CocoFile, labels: tuple[int, ...], ap: float, person: float) -> None:
    scores = evaluate_detector(find(labels), coco, CLASSES)
    figures = scores.figures
    assert {name: figures[name] for name in ("ap", "ap50", "ap75", "person_ap50")} == pytest.approx(
        {"ap": ap, "ap50": ap, "ap75": ap, "person_ap50": person}
    )
    assert (figures["ap_small"], figures["ap_medium"], figures["ap_large"]) == (pytest.approx(ap), None, None)
    assert [(score.name, score.boxes) for score in scores.classes] == [("person", 1), ("car", 1)]
    assert (scores.pictures, scores.unreadable) == (1, 0)


def test_places_count_by_overlap(coco: CocoFile) -> None:
    """Shifted by a fifth of the width: intersection over union is .8 / 1.2, good for IoU .5 to .65, four of ten."""
    figures = evaluate_detector(find((0, 1), shift=BOX[2] / 2 / 5), coco, CLASSES).figures
    assert (figures["ap50"], figures["ap75"]) == (pytest.approx(1.0), 0.0)
    assert figures["ap"] == pytest.approx(0.4)


def test_classes_that_the_file_does_not_label_are_not_judged(coco: CocoFile) -> None:
    assert evaluate_detector(find((2, 2, 0, 1)), coco, CLASSES).figures["ap"] == pytest.approx(1.0)


def test_crowds_are_neither_found_nor_missed(tmp_path: Path) -> None:
    annotations = [
        {"image_id": 0, "category_id": 1, "bbox": [30, 20, 10, 10]},
        {"image_id": 0, "category_id": 1, "bbox": BOX, "iscrowd": 1},
    ]
    coco = read_coco_file(write_coco(tmp_path, annotations=annotations), CLASSES)
    scores = evaluate_detector(find((0,)), coco, CLASSES)
    assert scores.classes[0].boxes == 1
    assert scores.figures["person_ap50"] == 0.0
    boxes = np.array([[15.0, 10, 20, 15], [4, 3, 16, 13]])
    both = Detections(boxes, np.array([0.5, 0.9]), np.array([0, 0]))
    assert evaluate_detector(lambda rgb: both, coco, CLASSES).figures["person_ap50"] == pytest.approx(1.0)


def test_pictures_without_boxes_and_files_without_any(tmp_path: Path) -> None:
    figures = evaluate_detector(
        find(()), read_coco_file(write_coco(tmp_path, annotations=[]), CLASSES), CLASSES
    ).figures
    assert set(figures.values()) == {None}


def test_pictures_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    coco = read_coco_file(write_coco(tmp_path, pictures=3), CLASSES)
    (tmp_path / "1.png").write_bytes(b"")
    scores = evaluate_detector(find((0, 1)), coco, CLASSES)
    assert (scores.pictures, scores.unreadable) == (2, 1)
    assert scores.figures["ap"] == pytest.approx(1.0)
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match="no readable picture among 3"):
        evaluate_detector(find((0, 1)), coco, CLASSES)


def test_command_on_the_shipped_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [{"image_id": 0, "category_id": 1, "bbox": [1, 1, 0, 5]}, {"image_id": 0, "category_id": 3, "bbox": BOX}]
    good = {"image_id": 0, "category_id": 1, "bbox": BOX}
    file = write_coco(tmp_path, pictures=2, annotations=[good, *bad])
    (tmp_path / "1.png").write_bytes(b"no picture")
    result = tmp_path / "result.json"
    assert cli.main(["eval", "detector", "detector", "--data", f"{file}={tmp_path}", "--json", str(result)]) == 0
    document = read_document(result)
    assert document["summary"]["ap"] == 0.0  # the pictures are black
    assert document["results"]["left_out"] == {"box without area": 1, "unknown class": 1, "unreadable picture": 1}
    assert document["results"]["tables"][0]["rows"][0] == ["person", "0.000", "0.000", "1"]
    assert "left out: 1 x unreadable picture" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["no_such_engine", "--data", "coco.json"], "no engine 'no_such_engine'"),
        (["student", "--data", "coco.json"], "is for style"),
        (["detector", "--data", "none.json"], "cannot read annotations"),
        (["detector", "--data", "coco.json", "--level", "huge"], "no level 'huge'"),
        (["detector", "--data", "coco.json", "--backend", "abacus"], "unknown backend 'abacus'"),
        (["detector", "--data", "coco.json=nowhere"], "no readable picture among 1"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    write_coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["eval", "detector", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_without_pycocotools_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install pycocotools"):
        evaluate_detector(find(()), read_coco_file(write_coco(tmp_path), CLASSES), CLASSES)
