# SPDX-License-Identifier: Apache-2.0
"""COCO files with every fault users have: the whole refused in one sentence, single faults counted, never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muon_ad_core.distill.coco_file import file_and_folder, read_coco_file
from muon_ad_core.errors import UserError

CLASSES = ("person", "cat", "dog")
IMAGE = {"id": 0, "file_name": "0.png", "width": 64, "height": 48}
CATEGORY = {"id": 1, "name": "person"}
BOX = {"image_id": 0, "category_id": 1, "bbox": [10, 20, 30, 24]}


def write(folder: Path, **changes: Any) -> Path:
    document = {"images": [IMAGE], "annotations": [BOX], "categories": [CATEGORY], **changes}
    file = folder / "coco.json"
    file.write_text(json.dumps(document))
    return file


def test_a_box_as_it_is_written(tmp_path: Path) -> None:
    annotations = [{**BOX, "area": 300.5, "iscrowd": 1, "score": 0.5}, BOX]
    coco = read_coco_file(write(tmp_path, annotations=annotations), CLASSES, tmp_path)
    [picture] = coco.pictures
    assert (picture.file, picture.width, picture.height) == (tmp_path / "0.png", 64, 48)
    crowd, plain = picture.boxes
    assert (crowd.area, crowd.score, crowd.crowd) == (300.5, 0.5, True)
    assert (plain.corners, plain.label, plain.area, plain.score, plain.crowd) == ((10, 20, 40, 44), 0, 720, 1, False)
    assert not coco.faults


@pytest.mark.parametrize(
    ("annotation", "fault"),
    [
        ("a text", "annotation of an unknown picture"),
        ({**BOX, "image_id": [0]}, "annotation of an unknown picture"),
        ({**BOX, "image_id": True}, "annotation of an unknown picture"),
        ({**BOX, "category_id": {"id": 1}}, "unknown class"),
        ({"image_id": 0, "category_id": 1}, "box without area"),
        ({**BOX, "bbox": [1, 1, 0, 0]}, "box without area"),
        ({**BOX, "bbox": [1, 1, 10**400, 5]}, "box without area"),
        ({**BOX, "bbox": [1e308, 1, 1e308, 5]}, "box without area"),
        ({**BOX, "score": "high"}, "score outside 0..1"),
        ({**BOX, "score": float("nan")}, "score outside 0..1"),
    ],
)
def test_single_faults_are_counted(tmp_path: Path, annotation: Any, fault: str) -> None:
    coco = read_coco_file(write(tmp_path, annotations=[annotation, BOX]), CLASSES, tmp_path)
    assert coco.faults == {fault: 1}
    assert len(coco.pictures[0].boxes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [IMAGE, IMAGE]}, "two pictures with the id 0"),
        ({"images": ["0.png"]}, "picture without id or file_name"),
        ({"images": [{**IMAGE, "file_name": 5}]}, "picture without id or file_name"),
        ({"images": [{**IMAGE, "id": None}]}, "picture without id or file_name"),
        ({"categories": ["person"]}, "category without id or name"),
        ({"categories": [{"id": 1}]}, "category without id or name"),
        ({"categories": []}, "none of the detector's categories"),
        ({"annotations": None}, "not COCO format"),
    ],
)
def test_files_that_are_wrong_as_a_whole_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_coco_file(write(tmp_path, **changes), CLASSES, tmp_path)


@pytest.mark.parametrize("side", [None, "64", -1, float("nan"), 10**400])
def test_sizes_that_say_nothing_count_as_untold(tmp_path: Path, side: Any) -> None:
    coco = read_coco_file(write(tmp_path, images=[{**IMAGE, "width": side}]), CLASSES, tmp_path)
    assert (coco.pictures[0].width, coco.pictures[0].height) == (0, 48)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["id", "image_id", "category_id", "bbox", "file_name", "name", "width", "score", "iscrowd"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["images", "annotations", "categories"]), st.lists(JSON, max_size=4))
def test_any_json_is_read_or_refused(tmp_path: Path, part: str, entries: list[Any]) -> None:
    good = {"images": IMAGE, "annotations": BOX, "categories": CATEGORY}[part]
    file = write(tmp_path, **{part: [good, *entries]})
    try:
        coco = read_coco_file(file, CLASSES, tmp_path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert sum(len(picture.boxes) for picture in coco.pictures) + sum(coco.faults.values()) >= 1


def test_file_and_folder_of_a_command_line() -> None:
    assert file_and_folder("a/b.json=pictures") == (Path("a/b.json"), Path("pictures"))
    assert file_and_folder("a/b.json") == (Path("a/b.json"), None)
