# SPDX-License-Identifier: Apache-2.0
"""Draws detections into a copy of their picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from muon_ad_core.detect.detector import Detections

FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_SCALE_AT_480 = 0.5


def class_colour(label: int) -> tuple[int, int, int]:
    """RGB colour of a class: hues by the golden ratio, so that neighbouring class numbers differ clearly."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_detections(rgb: np.ndarray, detections: Detections, classes: Sequence[str]) -> np.ndarray:
    """A copy of the picture (H, W, 3) uint8 with boxes, class names and scores in per cent."""
    drawn = rgb.copy()
    scale = max(0.3, TEXT_SCALE_AT_480 * min(rgb.shape[:2]) / 480)
    thickness = max(1, round(4 * scale))
    for box, score, label in reversed(list(detections)):  # the best on top
        colour = class_colour(label)
        x1, y1, x2, y2 = (round(float(side)) for side in box)
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, thickness)
        text = f"{classes[label]} {100 * score:.0f}"
        (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
        top = max(y1, height + below)
        cv2.rectangle(drawn, (x1, top - height - below), (x1 + width, top), colour, cv2.FILLED)
        cv2.putText(drawn, text, (x1, top - below // 2), FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return drawn
