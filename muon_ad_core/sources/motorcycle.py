# SPDX-License-Identifier: Apache-2.0
"""The Middlebury 2014 "Motorcycle" stereo pair (Scharstein et al., GCPR 2014) as a layered scene for ``layered``.

The left picture and its true disparity give two layers: the motorcycle, and the garage behind it. What the motorcycle hides of
the garage in the left picture is taken from the right picture where it is seen there, so a camera that stays between the two
real cameras sees real pixels almost everywhere. World coordinates are the optical frame of the left camera, in metres.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.base import CameraModel, Pose, look_at
from muon_ad_core.sources.layered import Layer, LayeredScene, View
from muon_ad_core.sources.photographs import load_photograph, photograph_path

FOCAL_LENGTH = 994.978
PRINCIPAL_POINT = (311.193, 254.877)
PRINCIPAL_POINT_OFFSET = 31.086
"""Right minus left principal point x; depth = FOCAL_LENGTH * BASELINE / (disparity + PRINCIPAL_POINT_OFFSET)."""
BASELINE = 0.193001

ATLAS_SCALE = 2
"""Layers are stored enlarged, so that bilinear sampling does not change their sharpness while the camera moves."""
STEEPEST_DISPARITY = 0.5
"""Largest change of disparity between neighbours inside a layer; keeps the warp of ``layered`` contracting."""

PERIOD = 20.0
"""Seconds for one round of the camera's path."""
MIDDLE = (0.16, -0.013, 2.7)
"""Point of the scene at the middle of the left picture, near the motorcycle."""

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


class MotorcycleScene:
    """The scene, and a path of 20 s through it on which both cameras stay between the two real ones."""

    def __init__(self, width: int, height: int) -> None:
        """Raises SourceError when scikit-image's pictures are missing."""
        self._layers = load_layers()
        focal_length = 1.1 * FOCAL_LENGTH * max(width / 640, height / 480)
        self.camera = CameraModel(width, height, focal_length, focal_length, (width - 1) / 2, (height - 1) / 2)

    def pose(self, seconds: float) -> Pose:
        """Where the camera is: a slow sway and dolly, with a gaze that wanders a little faster."""
        phase = 2 * np.pi * seconds / PERIOD
        center = np.array([0.035 + 0.035 * np.sin(phase), 0.012 * np.sin(2 * phase), 0.04 - 0.04 * np.cos(phase)])
        gaze = [0.08 * np.cos(phase) + 0.02 * np.sin(3 * phase), 0.02 * np.sin(2 * phase), 0.0]
        return look_at(center, np.array(MIDDLE) + gaze, roll=0.006 * np.sin(phase))

    def view(self, camera: CameraModel) -> View:
        """A camera to render with."""
        return View(self._layers, camera)


def load_layers() -> LayeredScene:
    """Motorcycle and garage, about 2 to 5 m deep; SourceError when scikit-image's pictures are missing."""
    left = load_photograph("motorcycle_left.png")
    right = load_photograph("motorcycle_right.png")
    with np.load(photograph_path("motorcycle_disp.npz")) as archive:
        measured = archive["arr_0"]
    known = np.isfinite(measured)
    disparity = cv2.medianBlur(fill_from_behind(measured, known), 5)
    motorcycle = disparity > np.maximum(_ground_plane(measured, known) + 2.5, 36.0)

    hidden = cv2.dilate(motorcycle.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    behind = fill_from_behind(disparity, ~hidden)
    garage = _reveal(left, right, hidden, motorcycle, disparity, behind)
    height, width = disparity.shape
    reference = CameraModel(width, height, FOCAL_LENGTH, FOCAL_LENGTH, *PRINCIPAL_POINT)
    opacity = cv2.GaussianBlur(motorcycle.astype(np.float32), (0, 0), 0.7)
    background = Layer(
        _enlarge(np.dstack([garage, np.where(known & ~hidden, 255, 0).astype(np.uint8)])),
        _inverse_depth(smooth_slopes(behind)),
    )
    foreground = Layer(
        _enlarge(np.dstack([left * opacity[..., None], 255 * (1 - opacity)]).round().astype(np.uint8)),
        _inverse_depth(smooth_slopes(np.where(motorcycle, disparity, 36.0))),
    )
    return LayeredScene(reference, background, foreground)


def fill_from_behind(disparity: Float, known: Mask) -> Float:
    """Fill each unknown pixel with the smaller (farther) of the nearest known values left and right in its row."""
    columns = np.arange(disparity.shape[1])
    left = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(known, columns, columns.size)[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(disparity, ((0, 0), (1, 1)), constant_values=np.inf)
    return np.minimum(np.take_along_axis(padded, left + 1, 1), np.take_along_axis(padded, right + 1, 1))


def smooth_slopes(disparity: Float) -> Float:
    """Limit the slope along rows and columns to STEEPEST_DISPARITY by raising the farther side of each step."""
    for axis in (0, 1):
        ramp = STEEPEST_DISPARITY * np.arange(disparity.shape[axis], dtype=np.float32)
        ramp = ramp if axis else ramp[:, None]
        forward = np.maximum.accumulate(disparity + ramp, axis) - ramp
        backward = np.flip(np.maximum.accumulate(np.flip(disparity - ramp, axis), axis), axis) + ramp
        disparity = np.maximum(forward, backward)
    return cv2.GaussianBlur(disparity, (0, 0), 2.0)


def _ground_plane(measured: Float, known: Mask) -> Float:
    """Disparity of the garage floor at every pixel: a plane's disparity is affine in x and y; least trimmed squares."""
    y, x = np.nonzero(known[300::3, ::3])
    points = np.stack([3 * x, 300 + 3 * y, np.ones_like(x)], axis=1)
    values = measured[points[:, 1], points[:, 0]]
    inlier = np.ones(len(values), dtype=bool)
    for above in (6.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0):
        plane = np.linalg.lstsq(points[inlier], values[inlier], rcond=None)[0]
        residual = values - points @ plane
        inlier = (residual > -4.0) & (residual < above)
    height, width = measured.shape
    return (plane[0] * np.arange(width) + plane[1] * np.arange(height)[:, None] + plane[2]).astype(np.float32)


def _reveal(left: Picture, right: Picture, hidden: Mask, front: Mask, disparity: Float, behind: Float) -> Picture:
    """Left picture without its front layer: seen pixels, else the right picture's where it sees them, else inpainted."""
    height, width = front.shape
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), front.shape)
    rows = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], front.shape)
    in_right = columns - behind
    covered = np.zeros(front.shape, np.uint8)
    y, x = np.nonzero(front)
    covered[y, np.clip(np.rint(x - disparity[y, x]).astype(int), 0, width - 1)] = 1
    covered = cv2.dilate(covered, np.ones((7, 7), np.uint8))
    seen_right = (cv2.remap(covered, in_right, rows, cv2.INTER_NEAREST) == 0) & (in_right >= 0)
    picture = np.where(hidden[..., None], cv2.remap(right, in_right, rows, cv2.INTER_LINEAR), left)
    return cv2.inpaint(picture, (hidden & ~seen_right).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _inverse_depth(disparity: Float) -> Float:
    return ((disparity + PRINCIPAL_POINT_OFFSET) / (FOCAL_LENGTH * BASELINE)).astype(np.float32)


def _enlarge(picture: Picture) -> Picture:
    return cv2.resize(picture, None, fx=ATLAS_SCALE, fy=ATLAS_SCALE, interpolation=cv2.INTER_LANCZOS4)
