# SPDX-License-Identifier: Apache-2.0
"""Fusion of several detectors' boxes and the soft labels made of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.distill.coco_classes import COCO_CATEGORY_IDS, COCO_CLASSES
from muon_ad_core.distill.detector_teachers import Boxes, add_soft_labels, describe_folder, fuse, teach
from muon_ad_core.errors import UserError


def found(*rows: tuple[float, float, float, float, float, int]) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4], table[:, 5].astype(int))


class LeftHalfTeacher:
    """Sees a car in the left half of whatever it is shown."""

    def detect(self, rgb: np.ndarray) -> Boxes:
        return found((0, 0, rgb.shape[1] / 2, rgb.shape[0], 0.8, 2))


def test_overlapping_boxes_of_two_runs_become_their_weighted_mean() -> None:
    fused = fuse([found((0, 0, 10, 10, 0.6, 0)), found((0, 0, 12, 10, 0.2, 0))])
    assert fused.boxes.tolist() == [[0, 0, pytest.approx(10.5), 10]]
    assert fused.scores == pytest.approx([0.4])


def test_what_one_run_sees_counts_less_and_classes_stay_apart() -> None:
    fused = fuse([found((0, 0, 10, 10, 0.6, 0), (0, 0, 10, 10, 0.5, 7)), found()])
    assert dict(zip(fused.labels.tolist(), fused.scores.tolist(), strict=True)) == pytest.approx({0: 0.3, 7: 0.25})


def test_doubtful_boxes_are_left_out() -> None:
    assert len(fuse([found((0, 0, 10, 10, 0.1, 0)), found()]).boxes) == 0


def test_mirrored_boxes_come_back_mirrored() -> None:
    fused = teach([LeftHalfTeacher()], np.zeros((20, 40, 3), np.uint8), mirror=True)
    assert sorted(fused.boxes.tolist()) == [[0, 0, 20, 20], [20, 0, 40, 20]]
    assert fused.scores == pytest.approx([0.4, 0.4])


def test_own_categories_keep_their_true_boxes_only(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 40, 3), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "broken.png"}]
    person = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
    coco = {"images": images, "annotations": [person], "categories": [{"id": 1, "name": "person"}]}
    labelled = add_soft_labels(coco, tmp_path, [LeftHalfTeacher()])
    assert labelled["annotations"][0] == person
    car = labelled["annotations"][1]
    assert (car["id"], car["image_id"], car["category_id"], car["bbox"]) == (8, 1, 3, [0, 0, 20, 20])
    assert car["score"] == pytest.approx(0.8)
    assert len(labelled["annotations"]) == 2
    assert [category["name"] for category in labelled["categories"]] == list(COCO_CLASSES)

    coco["categories"].append({"id": 3, "name": "car"})
    assert add_soft_labels(coco, tmp_path, [LeftHalfTeacher()])["annotations"] == [person]


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(UserError, match="no readable picture"):
        describe_folder(tmp_path)


def test_category_ids_are_those_of_coco() -> None:
    ids = dict(zip(COCO_CLASSES, COCO_CATEGORY_IDS))
    assert len(ids) == 80
    assert (ids["person"], ids["stop sign"], ids["bench"], ids["toothbrush"]) == (1, 13, 15, 90)
