# SPDX-License-Identifier: Apache-2.0
"""The Middlebury 2014 "Motorcycle" stereo pair (Scharstein et al., GCPR 2014) as a scene for ``layered``.

The left picture and its true disparity give two layers: the motorcycle, and the garage behind it. What the
motorcycle hides of the garage in the left picture is taken from the right picture where that sees it, so a
camera that stays between the two real cameras sees real pixels almost everywhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.base import CameraModel, Pose, look_at
from muon_ad_core.sources.layered import Layer, LayeredScene, View
from muon_ad_core.sources.photographs import load_photograph, photograph_path

FOCAL_LENGTH = 994.978
PRINCIPAL_POINT = (311.193, 254.877)
PRINCIPAL_POINT_OFFSET = 31.086
"""Right minus left principal point x; depth = FOCAL_LENGTH * BASELINE / (disparity + this)."""
BASELINE = 0.193001

ATLAS_SCALE = 1.5
"""Layers are stored enlarged, so that bilinear sampling keeps their sharpness while the camera moves."""
STEEPEST_DISPARITY = 0.5
"""Largest change of disparity between neighbours in a layer; keeps the warp of ``layered`` contracting."""
LEAST_FRONT_DISPARITY = 36.0
"""The motorcycle is nearer than this wherever it stands before something other than the floor."""

PERIOD = 20.0
"""Seconds for one round of the camera's path."""
MIDDLE = (0.16, -0.013, 2.7)
"""Point of the scene at the middle of the left picture, near the motorcycle."""

Float = NDArray[Any]
"""float32"""
Picture = NDArray[Any]
"""uint8"""
Mask = NDArray[np.bool_]


class MotorcycleScene:
    """The scene, and a closed path through it on which both cameras stay between the two real ones."""

    def __init__(self, width: int, height: int) -> None:
        """Raises SourceError when scikit-image's pictures are missing."""
        self._layers = load_layers()
        focal = 1.1 * FOCAL_LENGTH * max(width / 640, height / 480)
        self.camera = CameraModel(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    def pose(self, seconds: float) -> Pose:
        """Where the camera is: a slow sway and dolly, with a gaze that wanders a little faster."""
        phase = 2 * np.pi * seconds / PERIOD
        sin, cos = np.sin(phase), np.cos(phase)
        center = np.array([0.035 + 0.035 * sin, 0.012 * np.sin(2 * phase), 0.04 - 0.04 * cos])
        gaze = [0.08 * cos + 0.02 * np.sin(3 * phase), 0.02 * np.sin(2 * phase), 0.0]
        return look_at(center, np.array(MIDDLE) + gaze, roll=0.006 * sin)

    def view(self) -> View:
        """A camera to render with."""
        return View(self._layers, self.camera)


@cache
def load_layers() -> LayeredScene:
    """Motorcycle and garage, about 2 to 5 m deep; SourceError when scikit-image's pictures are missing."""
    left = load_photograph("motorcycle_left.png")
    right = load_photograph("motorcycle_right.png")
    with np.load(photograph_path("motorcycle_disp.npz")) as archive:
        measured = archive["arr_0"]
    known = np.isfinite(measured)
    disparity = cv2.medianBlur(fill_from_behind(measured, known), 5)
    front = disparity > np.maximum(_floor(measured, known) + 2.5, LEAST_FRONT_DISPARITY)

    hidden = cv2.dilate(front.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    behind = fill_from_behind(disparity, ~hidden)
    garage = _reveal(left, right, hidden, _seen_right(disparity, front, behind), behind)
    measurable = np.where(known & ~hidden, 255, 0).astype(np.uint8)
    opacity = cv2.GaussianBlur(front.astype(np.float32), (0, 0), 0.7)[..., None]
    motorcycle = np.dstack([left * opacity, 255 * (1 - opacity)]).round().astype(np.uint8)
    height, width = disparity.shape
    return LayeredScene(
        CameraModel(width, height, FOCAL_LENGTH, FOCAL_LENGTH, *PRINCIPAL_POINT),
        background=_layer(np.dstack([garage, measurable]), behind),
        foreground=_layer(motorcycle, np.where(front, disparity, LEAST_FRONT_DISPARITY)),
    )


def fill_from_behind(disparity: Float, known: Mask) -> Float:
    """Fill each unknown pixel with the smaller (farther) of the nearest known values left and right of it."""
    columns = np.arange(disparity.shape[1])
    left = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(known, columns, columns.size)[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(disparity, ((0, 0), (1, 1)), constant_values=np.inf)
    return np.minimum(np.take_along_axis(padded, left + 1, 1), np.take_along_axis(padded, right + 1, 1))


def smooth_slopes(disparity: Float) -> Float:
    """Limit the slope along rows and columns to STEEPEST_DISPARITY by raising the far side of each step."""
    for axis in (0, 1):
        ramp = STEEPEST_DISPARITY * np.arange(disparity.shape[axis], dtype=np.float32)
        ramp = ramp if axis else ramp[:, None]
        forward = np.maximum.accumulate(disparity + ramp, axis) - ramp
        backward = np.flip(np.maximum.accumulate(np.flip(disparity - ramp, axis), axis), axis) + ramp
        disparity = np.maximum(forward, backward)
    return cv2.GaussianBlur(disparity, (0, 0), 2.0)


def _floor(measured: Float, known: Mask) -> Float:
    """Disparity of the floor's plane (affine in x and y) at every pixel, fitted without the motorcycle."""
    y, x = np.nonzero(known[300::3, ::3])
    points = np.stack([3 * x, 300 + 3 * y, np.ones_like(x)], axis=1)
    values = measured[points[:, 1], points[:, 0]]
    on_floor = np.ones(len(values), dtype=bool)
    for above in (6.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0):
        plane = np.linalg.lstsq(points[on_floor], values[on_floor], rcond=None)[0]
        residual = values - points @ plane
        on_floor = (residual > -4.0) & (residual < above)
    height, width = measured.shape
    return (plane[0] * np.arange(width) + plane[1] * np.arange(height)[:, None] + plane[2]).astype(np.float32)


def _pixel_grid(height: int, width: int) -> tuple[Float, Float]:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y


def _seen_right(disparity: Float, front: Mask, behind: Float) -> Mask:
    """Which pixels of the background the right camera sees past the foreground."""
    height, width = front.shape
    y, x = np.nonzero(front)
    covered = np.zeros(front.shape, np.uint8)
    covered[y, np.clip(np.rint(x - disparity[y, x]).astype(int), 0, width - 1)] = 1
    covered_widely = cv2.dilate(covered, np.ones((7, 7), np.uint8))
    columns, rows = _pixel_grid(height, width)
    return (cv2.remap(covered_widely, columns - behind, rows, cv2.INTER_NEAREST) == 0) & (columns >= behind)


def _reveal(left: Picture, right: Picture, hidden: Mask, seen_right: Mask, behind: Float) -> Picture:
    """The background's picture: where hidden, the right picture's where that sees it, else inpainted."""
    columns, rows = _pixel_grid(*hidden.shape)
    from_right = cv2.remap(right, columns - behind, rows, cv2.INTER_LINEAR)
    picture = np.where(hidden[..., None], from_right, left)
    return cv2.inpaint(picture, (hidden & ~seen_right).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _layer(color: Picture, disparity: Float) -> Layer:
    height, width = disparity.shape
    size = (round(ATLAS_SCALE * width), round(ATLAS_SCALE * height))
    enlarged = cv2.resize(color, size, interpolation=cv2.INTER_LANCZOS4)
    inverse_depth = (smooth_slopes(disparity) + PRINCIPAL_POINT_OFFSET) / (FOCAL_LENGTH * BASELINE)
    return Layer(enlarged, inverse_depth.astype(np.float32))
