# SPDX-License-Identifier: Apache-2.0
"""COCO detection files as users have them: what is wrong in the whole is refused, single faults are counted.

Annotations may carry a `score` in (0, 1]: a soft label (detector_teachers writes such files); without it the label is
a human's, 1.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from muon_ad_core.errors import UserError

MINIMUM_SIDE = 1.0  # pixels: smaller boxes are counted and left out


@dataclass(frozen=True)
class AnnotatedBox:
    """One object: x1 y1 x2 y2 and area in the annotation's pixels, class index, soft label, or a crowd of objects."""

    corners: tuple[float, float, float, float]
    area: float
    label: int
    score: float
    crowd: bool


@dataclass
class AnnotatedPicture:
    """A picture's file, its size when it was annotated (0: not told), and its boxes."""

    file: Path
    width: int
    height: int
    boxes: list[AnnotatedBox] = field(default_factory=list)


@dataclass
class CocoFile:
    """A file's pictures, which of the classes it labels (classes,), and the faults found, by cause."""

    pictures: list[AnnotatedPicture]
    labelled: np.ndarray
    faults: Counter[str] = field(default_factory=Counter)


def file_and_folder(argument: str) -> tuple[Path, Path | None]:
    """The two of a command line's JSON[=FOLDER]."""
    file, _, folder = argument.partition("=")
    return Path(file), Path(folder) if folder else None


def read_coco_file(file: Path, classes: Sequence[str], folder: Path | None = None) -> CocoFile:
    """Read a COCO detection file; pictures are looked up in `folder`, else beside the file (see image_folder).

    Categories are matched to `classes` by name. Unknown categories, boxes without area, boxes of unknown pictures and
    scores outside (0, 1] are left out and counted in `faults`.

    Raises UserError when the file is missing, is no COCO JSON, or has no picture or no known category.
    """
    document = _read_json(file)
    folder = folder or image_folder(file, document["images"])
    label_of = _labels_by_category(file, document["categories"], classes)
    labelled = np.zeros(len(classes), bool)
    labelled[list(label_of.values())] = True
    pictures = _pictures(file, document["images"], folder)
    faults: Counter[str] = Counter()
    for annotation in document["annotations"]:
        picture = pictures.get(_key(annotation.get("image_id"))) if isinstance(annotation, dict) else None
        if picture is None:
            faults["annotation of an unknown picture"] += 1
            continue
        box = _read_box(annotation, label_of)
        if isinstance(box, str):
            faults[box] += 1
        else:
            picture.boxes.append(box)
    return CocoFile(list(pictures.values()), labelled, faults)


def image_folder(file: Path, images: Sequence[dict[str, Any]]) -> Path:
    """Folder of a COCO file's pictures: the file's own, its images/, or the one named like instances_NAME.json.

    Raises UserError when none holds the first picture.
    """
    candidates = [file.parent, file.parent / "images", file.parent / file.stem.removeprefix("instances_")]
    for candidate in candidates:
        if (candidate / images[0]["file_name"]).is_file():
            return candidate
    raise UserError(f"pictures of {file} not found beside it: give their folder, {file.name}=FOLDER.")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read annotations {file}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON ({error}): export it again in COCO format.") from error
    if not isinstance(document, dict) or any(
        not isinstance(document.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise UserError(f"{file} is not COCO format: it needs the lists images, annotations and categories.")
    if not document["images"]:
        raise UserError(f"{file} lists no pictures: there is nothing to look at.")
    for image in document["images"]:
        if not isinstance(image, dict) or _key(image.get("id")) is None or not _is_name(image.get("file_name")):
            raise UserError(f"{file} has a picture without id or file_name: export it again in COCO format.")
    return document


def _labels_by_category(file: Path, categories: Sequence[Any], classes: Sequence[str]) -> dict[Hashable, int]:
    """Class index of each known category's id."""
    index = {name: position for position, name in enumerate(classes)}
    label_of: dict[Hashable, int] = {}
    for category in categories:
        if not isinstance(category, dict) or _key(category.get("id")) is None or not _is_name(category.get("name")):
            raise UserError(f"{file} has a category without id or name: export it again in COCO format.")
        if category["name"] in index:
            label_of[category["id"]] = index[category["name"]]
    if not label_of:
        raise UserError(
            f"{file} has none of the detector's categories: names must match, {', '.join(classes[:3])}, ..."
        )
    return label_of


def _pictures(file: Path, images: Sequence[dict[str, Any]], folder: Path) -> dict[Hashable, AnnotatedPicture]:
    pictures: dict[Hashable, AnnotatedPicture] = {}
    for image in images:
        if image["id"] in pictures:
            raise UserError(f"{file} has two pictures with the id {image['id']}: give each its own.")
        width, height = (int(side) if (side := _number(image.get(key))) > 0 else 0 for key in ("width", "height"))
        pictures[image["id"]] = AnnotatedPicture(folder / image["file_name"], width, height)
    return pictures


def _read_box(annotation: dict[str, Any], label_of: dict[Hashable, int]) -> AnnotatedBox | str:
    """The box of an annotation, or what is wrong with it."""
    label = label_of.get(_key(annotation.get("category_id")))
    if label is None:
        return "unknown class"
    bbox = annotation.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        return "box without area"
    x, y, width, height = (_number(value) for value in bbox)
    if not all(map(math.isfinite, (x, y, x + width, y + height))) or min(width, height) < MINIMUM_SIDE:
        return "box without area"
    score = _number(annotation.get("score", 1.0))
    if not 0 < score <= 1:
        return "score outside 0..1"
    area = _number(annotation.get("area"))
    return AnnotatedBox(
        (x, y, x + width, y + height),
        area if 0 < area < math.inf else width * height,
        label,
        score,
        bool(annotation.get("iscrowd")),
    )


def _key(value: Any) -> Hashable:
    """An id as JSON may give it; None for what is none."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _number(value: Any) -> float:
    """A number of JSON as float; NaN for anything else, and for what no float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
