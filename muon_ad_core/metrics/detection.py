# SPDX-License-Identifier: Apache-2.0
"""Average precision of a detector on a COCO file's pictures, by pycocotools (pip install pycocotools)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from muon_ad_core.detect.detector import Detections, Detector
from muon_ad_core.distill.coco_file import AnnotatedPicture, CocoFile
from muon_ad_core.errors import UserError

SCORE_THRESHOLD = 0.02
"""Average precision weighs all scores: lower ones still count where few good boxes are."""
IOU_THRESHOLD = 0.5
"""What the detector node starts with."""
FIGURES = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar100": 8}
"""Names of COCOeval's statistics. Small: area below 32^2 pixels; large: above 96^2."""
PERSON = "person"

Detect = Callable[[np.ndarray], Detections]
"""RGB picture to detections in its pixels."""
Follow = Callable[[Sequence[AnnotatedPicture]], Iterable[AnnotatedPicture]]
"""Passes the pictures on one by one, for example to show progress."""


@dataclass(frozen=True)
class ClassScore:
    """One class: average precision over IoU .5 to .95, and at IoU .5; and how many boxes it has. None without any."""

    name: str
    ap: float | None
    ap50: float | None
    boxes: int


@dataclass(frozen=True)
class DetectionScores:
    """Figures by name (those of FIGURES, and person_ap50 where the file has persons; None: no box to judge by), each
    class of the file, and how many pictures were judged and how many could not be read."""

    figures: dict[str, float | None]
    classes: list[ClassScore]
    pictures: int
    unreadable: int


def detect_all(detector: Detector) -> Detect:
    """The detector at thresholds that average precision asks for."""
    return lambda rgb: detector.run(rgb, SCORE_THRESHOLD, IOU_THRESHOLD)


def require_pycocotools() -> None:
    """Raise UserError unless it is installed."""
    if importlib.util.find_spec("pycocotools") is None:
        raise UserError("average precision needs pycocotools, which is not installed: pip install pycocotools")


def evaluate_detector(detect: Detect, coco: CocoFile, classes: Sequence[str], follow: Follow = iter) -> DetectionScores:
    """Judge detections by a file's boxes; only classes that the file labels count, pictures that cannot be read do not.

    Crowds are ignored regions, as in COCO. Raises UserError when no picture can be read, or pycocotools is missing.
    """
    require_pycocotools()
    images, truth, results = [], [], []
    for number, picture in enumerate(follow(coco.pictures), start=1):
        pixels = cv2.imread(str(picture.file), cv2.IMREAD_COLOR)
        if pixels is None:
            continue
        images.append({"id": number})
        truth += [_truth_entry(number, box) for box in picture.boxes]
        # Detections are in the file's pixels, truth is in the annotation's.
        width, height = picture.width or pixels.shape[1], picture.height or pixels.shape[0]
        unit = np.array([width / pixels.shape[1], height / pixels.shape[0]] * 2)
        for box, score, label in detect(np.ascontiguousarray(pixels[:, :, ::-1])):
            if coco.labelled[label]:
                x1, y1, x2, y2 = (box * unit).tolist()
                bbox = [x1, y1, x2 - x1, y2 - y1]
                results.append({"image_id": number, "category_id": label, "bbox": bbox, "score": score})
    if not images:
        raise UserError(f"no readable picture among {len(coco.pictures)}: check the picture folder of the data set.")
    names = {label: classes[label] for label in np.flatnonzero(coco.labelled).tolist()}
    figures, scores = _evaluate(images, truth, results, names)
    return DetectionScores(figures, scores, len(images), len(coco.pictures) - len(images))


def _truth_entry(number: int, box: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = box.corners
    return {
        "image_id": number, "category_id": box.label, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": box.area,
        "iscrowd": int(box.crowd),
    }  # fmt: skip


def _evaluate(
    images: list[dict[str, Any]], truth: list[dict[str, Any]], results: list[dict[str, Any]], names: dict[int, str]
) -> tuple[dict[str, float | None], list[ClassScore]]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        categories = [{"id": label, "name": name} for label, name in names.items()]
        true = _coco(COCO(), images, truth, categories)
        found = _coco(COCO(), images, [_result_entry(result) for result in results], categories)
        evaluation = COCOeval(true, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: _known(evaluation.stats[place]) for name, place in FIGURES.items()}
    # (IoU, recall, class, area, detections): all areas, 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    boxes = {label: sum(entry["category_id"] == label and not entry["iscrowd"] for entry in truth) for label in names}
    scores = [
        ClassScore(names[label], _mean(precision[:, :, place]), _mean(precision[0, :, place]), boxes[label])
        for place, label in enumerate(evaluation.params.catIds)
    ]
    if PERSON in names.values():
        figures["person_ap50"] = next(score.ap50 for score in scores if score.name == PERSON)
    return figures, scores


def _coco(coco: Any, images: Any, annotations: list[dict[str, Any]], categories: Any) -> Any:
    """A COCO index of its own; annotations are numbered from 1, for 0 means none to COCOeval."""
    numbered = [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)]
    coco.dataset = {"images": images, "annotations": numbered, "categories": categories}
    coco.createIndex()
    return coco


def _result_entry(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}


def _mean(precision: np.ndarray) -> float | None:
    """COCOeval writes -1 where there was nothing to find."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def _known(value: float) -> float | None:
    return float(value) if value > -1 else None
