# SPDX-License-Identifier: Apache-2.0
"""Places a 2-D box in space with a depth image registered to the colour image: robust depth, then back-projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CORE = 0.5
"""Share of the box's width and height, around its middle, whose depth counts: the rims show the background."""
MINIMUM_VALID = 0.1
"""Share of the core's pixels that must have depth."""
DEPTH_UNIT = 0.001
"""Metres, of integer depth (REP 118)."""
INVALID_MILLIMETRES = (0, 65535)
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
LEAST_DEVIATION = DEPTH_UNIT
"""Metres; a flat surface does not make depth more certain than its unit."""


@dataclass(frozen=True)
class Placement:
    """An object in space, in the camera's optical frame (REP 103: x right, y down, z forward).

    Attributes:
        position: (3,) metres, centre of the box's visible surface.
        size: (3,) metres: width and height of the box at that distance; depth as the spread of the surface.
        covariance: (3, 3) square metres of the position, from the spread of depth in the core.
    """

    position: np.ndarray
    size: np.ndarray
    covariance: np.ndarray


def core_depth(depth: np.ndarray, box: np.ndarray) -> tuple[float, float] | None:
    """Median depth and robust deviation (1.4826 * median absolute deviation) in metres of a box's core.

    depth: (H, W) uint16 millimetres (0 and 65535 invalid) or float metres (not finite or <= 0 invalid); box: (4,)
    x1 y1 x2 y2 in its pixels. None when too few pixels have depth, or the box is not a finite one in the image.
    """
    if not np.isfinite(box).all():
        return None
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * CORE
    left, top = np.floor(np.maximum(middle - half, 0)).astype(int)
    right, bottom = np.ceil(np.clip(middle + half, 0, depth.shape[1::-1])).astype(int)
    core = depth[top:bottom, left:right]
    valid = valid_metres(core)
    if not core.size or len(valid) < max(1, MINIMUM_VALID * core.size):
        return None
    median = float(np.median(valid))
    return median, float(MAD_TO_DEVIATION * np.median(np.abs(valid - median)))


def valid_metres(depth: np.ndarray) -> np.ndarray:
    """The valid depths of an image as in core_depth(), in metres: (N,) float64."""
    if np.issubdtype(depth.dtype, np.integer):
        return depth[(depth != INVALID_MILLIMETRES[0]) & (depth != INVALID_MILLIMETRES[1])] * DEPTH_UNIT
    return depth[np.isfinite(depth) & (depth > 0)].astype(np.float64)


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """A depth image as in core_depth() as uint16 millimetres, 0 where invalid or beyond what 16 bits hold."""
    if not np.issubdtype(depth.dtype, np.integer):
        depth = np.rint(np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) / DEPTH_UNIT)
    low, high = INVALID_MILLIMETRES
    return np.where((depth > low) & (depth < high), depth, 0).astype(np.uint16)


def median_distance(depth: np.ndarray) -> float:
    """Median depth in metres around the middle of a depth image as in core_depth(); NaN when too little is known."""
    thinned = depth[::8, ::8]
    measured = core_depth(thinned, np.array([0, 0, thinned.shape[1], thinned.shape[0]], np.float32))
    return measured[0] if measured is not None else float("nan")


def place(
    depth: np.ndarray, box: np.ndarray, camera_matrix: np.ndarray, ideal_box: np.ndarray | None = None
) -> Placement | None:
    """Back-project a box by the pinhole model, X = (u - cx) Z / fx; None when its depth is not known.

    depth and box as in core_depth(), camera_matrix (3, 3) of the image that both belong to (CameraInfo's k); ideal_box:
    where the box would be without the lens's distortion, if it has any.
    """
    measured = core_depth(depth, box)
    if measured is None:
        return None
    z, deviation = measured
    fx, fy, cx, cy = camera_matrix[0, 0], camera_matrix[1, 1], camera_matrix[0, 2], camera_matrix[1, 2]
    ideal = box if ideal_box is None else ideal_box
    u, v = (ideal[:2] + ideal[2:]) / 2
    ray = np.array([(u - cx) / fx, (v - cy) / fy, 1.0])
    width, height = (ideal[2:] - ideal[:2]) * z / (fx, fy)
    # Depth errors move the point along its ray; a box edge is good to about a pixel.
    pixel = np.diag([(z / fx) ** 2, (z / fy) ** 2, 0.0])
    covariance = np.outer(ray, ray) * max(deviation, LEAST_DEVIATION) ** 2 + pixel
    return Placement(ray * z, np.array([width, height, 2 * deviation]), covariance)
