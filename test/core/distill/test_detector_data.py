# SPDX-License-Identifier: Apache-2.0
"""COCO files with every fault users have, the picture cache, and augmentation that keeps boxes on their objects."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muon_ad_core.distill.detector_data import Augmenter, CocoSet, PictureCache, read_coco
from muon_ad_core.errors import UserError

CLASSES = ("person", "cat", "dog")
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 99, "name": "unicorn"}]


def write(folder: Path, annotations: list[dict[str, Any]], pictures: int = 1, **changes: Any) -> Path:
    """A COCO file with black 64 x 48 pictures, each with one white rectangle at 10, 20 to 40, 44."""
    images = []
    for index in range(pictures):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[20:44, 10:40] = 255
        cv2.imwrite(str(folder / f"{index}.png"), picture)
        images.append({"id": index, "file_name": f"{index}.png", "width": 64, "height": 48})
    document = {"images": images, "annotations": annotations, "categories": CATEGORIES, **changes}
    file = folder / "coco.json"
    file.write_text(json.dumps(document))
    return file


def box(image: int = 0, category: int = 1, bbox: Any = (10, 20, 30, 24), **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), **more}


def test_boxes_classes_scores_and_crowds_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, [box(), box(category=18, score=0.4), box(bbox=(0, 0, 8, 8), iscrowd=1)])
    coco = read_coco(file, CLASSES)
    sample = coco.samples[0]
    assert sample.boxes.tolist() == [[10, 20, 40, 44]] * 2
    assert sample.labels.tolist() == [0, 2]
    assert sample.scores == pytest.approx([1, 0.4])
    assert sample.crowd.tolist() == [[0, 0, 8, 8]]
    assert coco.labelled.tolist() == [True, False, True]
    assert not coco.faults


def test_faulty_annotations_are_left_out_and_counted(tmp_path: Path) -> None:
    faulty = [
        box(category=99), box(category=5), box(bbox=(1, 1, 0, 5)), box(bbox=(1, 1, -4, 5)), box(bbox=(1, 1, 4)),
        box(bbox=("a", 1, 4, 4)), box(bbox=(float("nan"), 1, 4, 4)), box(image=77), box(score=1.7),
    ]  # fmt: skip
    coco = read_coco(write(tmp_path, [*faulty, box()]), CLASSES)
    assert len(coco.samples[0].boxes) == 1
    assert coco.faults == {
        "unknown class": 2,
        "box without area": 5,
        "annotation of an unknown picture": 1,
        "score outside 0..1": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not COCO format"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no pictures"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "without id or file_name"),
        ('{"images": {}, "annotations": [], "categories": []}', "not COCO format"),
    ],
)
def test_files_that_are_no_coco_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "coco.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        read_coco(file, CLASSES)


def test_missing_file_missing_pictures_and_foreign_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read annotations"):
        read_coco(tmp_path / "none.json", CLASSES)
    file = write(tmp_path, [box()])
    with pytest.raises(UserError, match="none of the detector's categories"):
        read_coco(file, ("submarine",))
    (tmp_path / "0.png").unlink()
    with pytest.raises(UserError, match=r"coco\.json=FOLDER"):
        read_coco(file, CLASSES)


@pytest.mark.parametrize("folder", ["images", "train"])
def test_pictures_are_found_beside_the_file(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    file = write(tmp_path / folder, [box()]).rename(tmp_path / "instances_train.json")
    assert read_coco(file, CLASSES).samples[0].file.is_file()


def test_corrupt_picture_is_counted_and_training_goes_on_without_it(tmp_path: Path) -> None:
    file = write(tmp_path, [box(0), box(1), box(2)], pictures=3)
    (tmp_path / "1.png").write_bytes(b"\x89PNG broken")
    coco = read_coco(file, CLASSES)
    assert len(PictureCache(coco, 64)) == 2
    assert coco.faults == {"unreadable picture": 1}
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="no readable picture among 3"):
        PictureCache(coco, 64)


def test_cache_scales_boxes_with_pictures_and_to_the_annotated_size(tmp_path: Path) -> None:
    file = write(tmp_path, [box()])
    coco = read_coco(file, CLASSES)
    coco.samples[0].width, coco.samples[0].height = 128, 96  # annotated on the original, the file is half of it
    cache = PictureCache(coco, 32)
    assert cache.pictures[0].shape == (24, 32, 3)
    assert cache.samples[0].boxes == pytest.approx(np.array([[10, 20, 40, 44]]) / 4)


def load(tmp_path: Path, pictures: int = 4) -> PictureCache:
    coco: CocoSet = read_coco(write(tmp_path, [box(i) for i in range(pictures)], pictures), CLASSES)
    return PictureCache(coco, 64)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_stay_on_their_objects(tmp_path: Path, mosaic: float) -> None:
    cache, augmenter = load(tmp_path), Augmenter(96, mosaic)
    seen = 0
    for seed in range(40):
        view = augmenter.view(cache, seed % 4, np.random.default_rng(seed))
        assert view.picture.shape == (96, 96, 3)
        assert view.picture.dtype == np.uint8
        bright = view.picture.astype(int).sum(axis=2)
        threshold = (bright.min() + bright.max()) / 2
        for x1, y1, x2, y2 in view.boxes:
            assert 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 96
            inside = bright[int(np.ceil(y1)) + 1 : int(y2) - 1, int(np.ceil(x1)) + 1 : int(x2) - 1]
            assert (inside > threshold).all()
            seen += 1
    assert seen > 20


def test_views_follow_from_the_seed(tmp_path: Path) -> None:
    cache, augmenter = load(tmp_path), Augmenter(64)
    first, second, other = (augmenter.view(cache, 0, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first.picture == second.picture).all()
    assert first.boxes.tolist() == second.boxes.tolist()
    assert (first.picture != other.picture).any()
