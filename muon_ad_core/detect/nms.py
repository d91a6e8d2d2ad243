# SPDX-License-Identifier: Apache-2.0
"""Overlap of boxes and class-wise non-maximum suppression, vectorised in numpy."""

from __future__ import annotations

import numpy as np


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of (N, 4) and (M, 4) boxes x1 y1 x2 y2: (N, M), 0 where a box is empty."""
    # Side by side in memory, one coordinate after the other: several times faster than corner by corner.
    x1, y1, x2, y2 = np.ascontiguousarray(first.T)[:, :, None]
    other_x1, other_y1, other_x2, other_y2 = np.ascontiguousarray(second.T)[:, None, :]
    width = np.minimum(x2, other_x2)
    width -= np.maximum(x1, other_x1)
    np.maximum(width, 0, out=width)
    height = np.minimum(y2, other_y2)
    height -= np.maximum(y1, other_y1)
    np.maximum(height, 0, out=height)
    width *= height
    area = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    other_area = np.maximum(other_x2 - other_x1, 0) * np.maximum(other_y2 - other_y1, 0)
    union = area + other_area
    union -= width
    np.maximum(union, 1e-9, out=union)
    width /= union
    return width


def class_wise_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_threshold: float, maximum: int
) -> np.ndarray:
    """Indices of the boxes that survive greedy suppression within each class, best score first.

    boxes (N, 4) x1 y1 x2 y2, scores (N,), labels (N,). A box goes when a kept box of its class with a better score (of
    equal scores: the earlier) overlaps it by more than `iou_threshold`. At most `maximum` indices come back.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    labels = labels[order]
    spares = box_iou(boxes, boxes) <= iou_threshold
    spares |= labels[:, None] != labels[None]
    alive = np.ones(len(order), bool)
    kept: list[int] = []
    index = 0
    while len(kept) < maximum and index < len(order):
        kept.append(index)
        alive &= spares[index]
        alive[index] = False
        later = int(alive[index:].argmax())
        if not alive[index + later]:
            break
        index += later
    return order[kept]
