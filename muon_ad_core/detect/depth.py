# SPDX-License-Identifier: Apache-2.0
"""Places a 2-D box in space with a depth image registered to the colour image: robust depth, then back-projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CORE = 0.5
"""Share of the box's width and height, around its middle, whose depth counts: the rims show the background."""
MINIMUM_VALID = 0.1
"""Share of the core's pixels that must have depth."""
INVALID_MILLIMETRES = (0, 65535)
MAD_TO_DEVIATION = 1.4826  # of a normal distribution


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
    x1 y1 x2 y2 in its pixels. None when too few pixels have depth.
    """
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * CORE
    left, top = np.floor(np.maximum(middle - half, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(middle + half, depth.shape[1::-1])).astype(int)
    core = depth[top:bottom, left:right]
    if np.issubdtype(core.dtype, np.integer):
        valid = core[(core != INVALID_MILLIMETRES[0]) & (core != INVALID_MILLIMETRES[1])] / 1000.0
    else:
        valid = core[np.isfinite(core) & (core > 0)].astype(np.float64)
    if not core.size or len(valid) < max(1, MINIMUM_VALID * core.size):
        return None
    median = float(np.median(valid))
    return median, float(MAD_TO_DEVIATION * np.median(np.abs(valid - median)))


def median_distance(depth: np.ndarray) -> float:
    """Median depth in metres around the middle of a depth image as in core_depth(); NaN when too little is known."""
    thinned = depth[::8, ::8]
    measured = core_depth(thinned, np.array([0, 0, thinned.shape[1], thinned.shape[0]], np.float32))
    return measured[0] if measured is not None else float("nan")


def place(depth: np.ndarray, box: np.ndarray, camera_matrix: np.ndarray) -> Placement | None:
    """Back-project a box by the pinhole model, X = (u - cx) Z / fx; None when its depth is not known.

    depth and box as in core_depth(), camera_matrix (3, 3) of the image that both belong to (CameraInfo's k).
    """
    measured = core_depth(depth, box)
    if measured is None:
        return None
    z, deviation = measured
    fx, fy, cx, cy = camera_matrix[0, 0], camera_matrix[1, 1], camera_matrix[0, 2], camera_matrix[1, 2]
    u, v = (box[:2] + box[2:]) / 2
    ray = np.array([(u - cx) / fx, (v - cy) / fy, 1.0])
    width, height = (box[2:] - box[:2]) * z / (fx, fy)
    # Depth errors move the point along its ray; a box edge is good to about a pixel.
    pixel = np.diag([(z / fx) ** 2, (z / fy) ** 2, 0.0])
    covariance = np.outer(ray, ray) * deviation**2 + pixel
    return Placement(ray * z, np.array([width, height, 2 * deviation]), covariance)
