# SPDX-License-Identifier: Apache-2.0
"""Average precision of made-up detectors: perfect, empty, and one that mistakes the class."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="average precision needs pycocotools")

from muon_ad_core.distill.detector_metrics import average_precision

CLASSES = ("person", "car")
BOX = [8.0, 6.0, 24.0, 20.0]


@pytest.fixture
def coco_file(tmp_path: Path) -> Path:
    """One picture of half the annotated size, with a person and a car at the same place."""
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((24, 32, 3), np.uint8))
    annotations = [{"id": i, "image_id": 0, "category_id": i, "bbox": BOX, "area": 480, "iscrowd": 0} for i in (1, 2)]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    images = [{"id": 0, "file_name": "0.png", "width": 64, "height": 48}]
    file = tmp_path / "coco.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def detect_labels(*labels: int):  # type: ignore[no-untyped-def]
    x, y, width, height = (v / 2 for v in BOX)
    boxes = np.array([[x, y, x + width, y + height]] * len(labels)).reshape(-1, 4)
    return lambda rgb: (boxes, np.full(len(labels), 0.9), np.array(labels, int))


@pytest.mark.parametrize(("labels", "ap", "person"), [((0, 1), 1.0, 1.0), ((1,), 0.5, 0.0), ((), 0.0, 0.0)])
def test_average_precision(coco_file: Path, labels: tuple[int, ...], ap: float, person: float) -> None:
    metrics = average_precision(detect_labels(*labels), coco_file, coco_file.parent, CLASSES)
    assert metrics == pytest.approx({"ap": ap, "ap50": ap, "person_ap50": person})
