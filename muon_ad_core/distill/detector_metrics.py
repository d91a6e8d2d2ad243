# SPDX-License-Identifier: Apache-2.0
"""Average precision of a detector by pycocotools, on a COCO file's pictures."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

Detect = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""RGB picture to boxes (N, 4) x1 y1 x2 y2 in its pixels, scores (N,), labels (N,)."""


def average_precision(detect: Detect, file: Path, folder: Path, classes: Sequence[str]) -> dict[str, float]:
    """{"ap", "ap50", "person_ap50"} over the pictures of `file`; person_ap50 only where the file has that category."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        category_of = {category["name"]: category["id"] for category in truth.loadCats(truth.getCatIds())}
        results = []
        for image in truth.loadImgs(truth.getImgIds()):
            picture = cv2.imread(str(folder / image["file_name"]), cv2.IMREAD_COLOR)
            if picture is None:
                continue
            # Detections are in the file's pixels, truth is in the annotation's.
            unit = image["width"] / picture.shape[1]
            for box, score, label in zip(*detect(np.ascontiguousarray(picture[:, :, ::-1]))):
                if classes[label] in category_of:
                    x1, y1, x2, y2 = (float(v) * unit for v in box)
                    results.append(
                        {
                            "image_id": image["id"],
                            "category_id": category_of[classes[label]],
                            "bbox": [x1, y1, x2 - x1, y2 - y1],
                            "score": float(score),
                        }
                    )
        if not results:
            return {"ap": 0.0, "ap50": 0.0} | ({"person_ap50": 0.0} if "person" in category_of else {})
        evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {"ap": float(evaluation.stats[0]), "ap50": float(evaluation.stats[1])}
    if "person" in category_of:
        position = evaluation.params.catIds.index(category_of["person"])
        precision = evaluation.eval["precision"][0, :, position, 0, -1]  # IoU .5, all areas, 100 detections
        metrics["person_ap50"] = float(precision[precision > -1].mean()) if (precision > -1).any() else 0.0
    return metrics
