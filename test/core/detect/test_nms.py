# SPDX-License-Identifier: Apache-2.0
"""Overlap and class-wise suppression against closed forms, a brute-force oracle, and properties on random boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.detect.nms import box_iou, class_wise_nms

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Up to 25 boxes on a coarse grid (so that equal overlaps and scores happen), of up to three classes."""
    count = draw(st.integers(0, 25))
    corners = draw(st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=count, max_size=count))
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in corners], np.float32).reshape(-1, 4)
    scores = draw(st.lists(st.integers(1, 8), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    return boxes, np.array(scores, np.float32) / 8, np.array(labels, np.int64)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    union = (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1])
    union -= width * height
    return width * height / union if union else 0.0


def brute_force_nms(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float) -> list[int]:
    remaining = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    while remaining:
        best = remaining.pop(0)
        kept.append(best)
        remaining = [i for i in remaining if labels[i] != labels[best] or iou(boxes[best], boxes[i]) <= threshold]
    return kept


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [1, 1, 1, 4]], np.float32)
    expected = [[1, 1 / 7, 0, 0], [1 / 7, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]  # the last box has no area
    assert box_iou(boxes, boxes) == pytest.approx(np.array(expected), abs=1e-6)


def test_other_classes_do_not_suppress() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    kept = class_wise_nms(boxes, np.array([0.5, 0.9, 0.7]), np.array([0, 1, 1]), 0.5, 10)
    assert kept.tolist() == [1, 0]


def test_nothing_in_nothing_out() -> None:
    empty = np.zeros(0)
    assert class_wise_nms(empty.reshape(0, 4), empty, empty, 0.5, 10).tolist() == []


@settings(max_examples=150)
@given(scenes(), st.sampled_from([0.2, 0.5, 0.7]))
def test_agrees_with_brute_force(scene: Scene, threshold: float) -> None:
    assert class_wise_nms(*scene, threshold, 100).tolist() == brute_force_nms(*scene, threshold)


@settings(max_examples=100)
@given(scenes(), st.integers(1, 5))
def test_survivors_are_the_best_apart_and_settled(scene: Scene, maximum: int) -> None:
    boxes, scores, labels = scene
    kept = class_wise_nms(boxes, scores, labels, 0.5, maximum)
    assert len(kept) <= maximum
    assert (np.diff(scores[kept]) <= 0).all()
    overlap = (box_iou(boxes[kept], boxes[kept]) > 0.5) & (labels[kept][:, None] == labels[kept][None])
    assert not np.triu(overlap, 1).any()
    again = class_wise_nms(boxes[kept], scores[kept], labels[kept], 0.5, maximum)
    assert again.tolist() == list(range(len(kept)))
