# SPDX-License-Identifier: Apache-2.0
"""Drawing: a copy, boxes where they belong, classes told apart."""

import numpy as np

from muon_ad_core.detect.detector import Detections
from muon_ad_core.detect.draw import class_colour, draw_detections


def detections(*boxes: list[float]) -> Detections:
    count = len(boxes)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.5, np.float32), np.arange(count))


def test_box_edges_have_the_class_colour_and_the_input_stays() -> None:
    picture = np.full((240, 320, 3), 30, np.uint8)
    drawn = draw_detections(picture, detections([50, 60, 200, 180]), ["person"])
    assert (picture == 30).all()
    for y, x in ((180, 120), (120, 50), (120, 200)):
        assert tuple(drawn[y, x]) == class_colour(0)
    assert (drawn[120, 120] == 30).all()


def test_nothing_found_draws_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    assert (draw_detections(picture, detections(), []) == picture).all()


def test_boxes_at_the_border_and_in_tiny_pictures_are_drawn() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    assert draw_detections(picture, detections([0, 0, 30, 20], [25, 15, 30, 20]), ["cat", "dog"]).any()


def test_neighbouring_classes_differ_in_colour() -> None:
    colours = np.array([class_colour(label) for label in range(80)], int)
    assert (np.abs(np.diff(colours, axis=0)).sum(axis=1) > 100).all()
