# SPDX-License-Identifier: Apache-2.0
"""Overlap of boxes and class-wise non-maximum suppression, vectorised in numpy."""

from __future__ import annotations

import numpy as np


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of (N, 4) and (M, 4) boxes x1 y1 x2 y2: (N, M), 0 where a box is empty."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.prod(np.maximum(bottom_right - top_left, 0), axis=2)
    area_first = np.prod(np.maximum(first[:, 2:] - first[:, :2], 0), axis=1)
    area_second = np.prod(np.maximum(second[:, 2:] - second[:, :2], 0), axis=1)
    union = area_first[:, None] + area_second[None] - intersection
    return intersection / np.maximum(union, 1e-9)


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
    suppresses = (box_iou(boxes, boxes) > iou_threshold) & (labels[:, None] == labels[None])
    alive = np.ones(len(order), bool)
    kept = []
    for index in range(len(order)):
        if alive[index]:
            kept.append(index)
            if len(kept) == maximum:
                break
            alive &= ~suppresses[index]
    return order[kept]
