# SPDX-License-Identifier: Apache-2.0
"""Decoding of raw outputs against closed forms."""

import numpy as np
import pytest

from muon_ad_core.detect.decode import decode, grid_locations

BINS = 8
STRIDES = (8, 16, 32)


def background(height: int, width: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    centres, strides = grid_locations(height, width, STRIDES)
    logits = np.full((len(centres), classes), -10, np.float32)
    return logits, np.zeros((len(centres), 4 * BINS), np.float32), centres, strides


def test_locations_run_row_by_row_through_the_strides() -> None:
    centres, strides = grid_locations(32, 64, STRIDES)
    assert len(centres) == 4 * 8 + 2 * 4 + 1 * 2
    assert centres[:3].tolist() == [[4, 4], [12, 4], [20, 4]]
    assert centres[8].tolist() == [4, 12]
    assert centres[-1].tolist() == [48, 16]
    assert strides[[0, 31, 32, 40, 41]].tolist() == [8, 8, 16, 32, 32]


def test_certain_bins_give_exact_sides() -> None:
    logits, bins, centres, strides = background(64, 64)
    location = 64 + 5  # second row, second column of stride 16: centre (24, 24)
    logits[location, 2] = 2.0
    for side, distance in enumerate((1, 0, 2, 3)):
        bins[location, side * BINS + distance] = 50
    boxes, scores, labels = decode(logits, bins, centres, strides, 0.35, 0.5)
    assert boxes.tolist() == [[24 - 16, 24, 24 + 32, 24 + 48]]
    assert scores == pytest.approx([1 / (1 + np.exp(-2))])
    assert labels.tolist() == [2]


def test_flat_bins_give_the_mean_distance() -> None:
    logits, bins, centres, strides = background(64, 64)
    logits[27, 0] = 0  # stride 8, centre (28, 28)
    boxes, scores, _ = decode(logits, bins, centres, strides, 0.35, 0.5)
    assert boxes[0] == pytest.approx(np.array([28 - 28, 28 - 28, 28 + 28, 28 + 28]))
    assert scores[0] == pytest.approx(0.5)


def test_threshold_is_strict_and_classes_can_be_chosen() -> None:
    logits, bins, centres, strides = background(32, 32)
    logits[0, 0], logits[0, 1], logits[5, 2] = 0.0, 3.0, 1.0
    assert decode(logits, bins, centres, strides, 0.5, 0.5)[2].tolist() == [1, 2]
    only = np.array([False, False, True])
    assert decode(logits, bins, centres, strides, 0.3, 0.5, allowed=only)[2].tolist() == [2]


def test_nothing_above_the_threshold() -> None:
    boxes, scores, labels = decode(*background(32, 32), 0.35, 0.5)
    assert boxes.shape == (0, 4)
    assert len(scores) == len(labels) == 0


def test_flood_of_candidates_keeps_the_best() -> None:
    logits, bins, centres, strides = background(320, 320)
    logits[:, 0] = np.linspace(0, 3, len(logits))
    bins[:, ::BINS] = 50  # every box is a point: none overlaps another
    _, scores, _ = decode(logits, bins, centres, strides, 0.35, 0.5, maximum=20)
    assert len(scores) == 20
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-3)))
