# SPDX-License-Identifier: Apache-2.0
"""From a detector's raw outputs to boxes: score filter first, then the few surviving distance distributions."""

from __future__ import annotations

import numpy as np

from muon_ad_core.detect.nms import class_wise_nms

MAXIMUM_CANDIDATES = 300


def grid_locations(height: int, width: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Centres (L, 2) x y in pixels and strides (L,) of all locations of an input: stride by stride, row by row."""
    centres, all_strides = [], []
    for stride in strides:
        y, x = np.mgrid[: height // stride, : width // stride]
        centres.append((np.stack([x.ravel(), y.ravel()], axis=1) + 0.5) * stride)
        all_strides.append(np.full(x.size, stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(all_strides).astype(np.float32)


def decode(
    class_logits: np.ndarray,
    bin_logits: np.ndarray,
    centres: np.ndarray,
    strides: np.ndarray,
    score_threshold: float,
    iou_threshold: float,
    maximum: int = 100,
    allowed: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) x1 y1 x2 y2 in input pixels, scores (N,) and labels (N,), best first, after class-wise NMS.

    class_logits (L, classes) and bin_logits (L, 4 * bins) are one picture's raw outputs, centres and strides come from
    grid_locations(). A side's distance is the expectation of its softmax over the bins, in strides (Li et al.,
    "Generalized Focal Loss", 2020). `allowed` (classes,) bool limits the classes.
    """
    above = class_logits > np.log(score_threshold / (1 - score_threshold))
    if allowed is not None:
        above &= allowed
    # A flat search is several times faster than a two-dimensional nonzero().
    location, labels = np.divmod(np.flatnonzero(above), class_logits.shape[1])
    logits = class_logits[location, labels]
    if len(logits) > MAXIMUM_CANDIDATES:
        best = np.argpartition(-logits, MAXIMUM_CANDIDATES)[:MAXIMUM_CANDIDATES]
        location, labels, logits = location[best], labels[best], logits[best]
    bins = bin_logits[location].reshape(len(location), 4, bin_logits.shape[1] // 4)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True, initial=-np.inf))
    sides = weights @ np.arange(bins.shape[2], dtype=np.float32) / weights.sum(axis=2)
    sides *= strides[location, None]
    centre = centres[location]
    boxes = np.concatenate([centre - sides[:, :2], centre + sides[:, 2:]], axis=1).astype(np.float32)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    keep = class_wise_nms(boxes, scores, labels, iou_threshold, maximum)
    return boxes[keep], scores[keep], labels[keep]
