# SPDX-License-Identifier: Apache-2.0
"""Registers the picture of a depth camera to the colour camera beside it: depth for every pixel of colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.detect.depth import DEPTH_UNIT, to_millimetres
from muon_ad_core.sources.calibration import Calibration

UNKNOWN = 65535
"""Depth of nothing while pictures are made: no depth is farther."""
SAME_SURFACE = 0.05
"""Neighbours whose depths differ by no more than this share of the nearer one belong to one surface."""

Lens = tuple[NDArray[np.float32], NDArray[np.float32]]
"""For each pixel of a picture the column and the row of another one that its value comes from."""


class DepthRegistration:
    """Maps depth pictures of one camera into the picture of another; not for several threads at once.

    Every depth pixel becomes a point, is moved to the colour camera and covers the colour pixels whose centres lie
    within its footprint there; of several points on a pixel the nearest counts (z-buffer). Cracks that are one pixel
    wide, where a slanted surface is stretched, are closed between neighbours of one surface. What colour sees and the
    depth camera does not stays 0.

    The depth picture is rectified (the topic image_rect_raw: pinhole by P); the colour picture is as the sensor took it
    (image_raw: K and D).
    """

    def __init__(
        self, depth: Calibration, color: Calibration, rotation: NDArray[np.float64], translation: NDArray[np.float64]
    ) -> None:
        """`rotation` (3, 3) and `translation` (3,) in metres give ``x_color = rotation @ x_depth + translation``."""
        self._depth_shape = (depth.height, depth.width)
        self._shape, corner, self._lens = _canvas(color)
        fx, _, cx, _, fy, cy, *_ = color.k
        rays = _rays(depth) @ rotation.T.astype(np.float32)
        self._rays = [np.ascontiguousarray(rays[:, axis]) for axis in range(3)]
        self._translation = translation.astype(np.float32)
        self._focal = np.float32(fx), np.float32(fy)
        self._center = np.float32(cx - corner[0]), np.float32(cy - corner[1])
        self._reach = fx / depth.p[0] / 2, fy / depth.p[5] / 2  # half a depth pixel, in colour pixels at equal distance

    def register(self, depth: NDArray[np.generic]) -> NDArray[np.uint16]:
        """Depth seen by the colour camera: (height, width of colour) uint16 millimetres, 0 where it is not known.

        `depth` is (height, width of the depth camera), uint16 millimetres or float metres as in depth.core_depth().
        Raises ValueError when it has another shape.
        """
        if depth.shape != self._depth_shape:
            raise ValueError(f"the depth picture is {depth.shape}, its calibration is for {self._depth_shape}")
        millimetres = to_millimetres(depth).ravel()
        u, v, z = self._project(millimetres * np.float32(DEPTH_UNIT))
        moved = np.rint(z * np.float32(1 / DEPTH_UNIT)).clip(0, UNKNOWN).astype(np.uint16)
        moved[(millimetres == 0) | (moved == 0)] = UNKNOWN  # not measured, or behind the colour camera
        picture = self._splat(u, v, moved)
        picture[picture == UNKNOWN] = 0
        _close_cracks(picture)
        if self._lens is None:
            return picture
        columns, rows = self._lens
        return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_NEAREST), np.uint16)

    def _project(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Pixel coordinates on the canvas and distance of each depth pixel, as the colour camera sees it."""
        x, y, z = (ray * z + shift for ray, shift in zip(self._rays, self._translation))
        inverse = 1 / np.maximum(z, np.float32(DEPTH_UNIT))
        return self._focal[0] * x * inverse + self._center[0], self._focal[1] * y * inverse + self._center[1], z

    def _splat(self, u: NDArray[np.float32], v: NDArray[np.float32], z: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The nearest depth on each pixel of the canvas, UNKNOWN where no footprint lies."""
        height, width = self._shape
        picture = np.full(height * width, UNKNOWN, np.uint16)
        left, right = _covered(u, self._reach[0], width)
        top, bottom = _covered(v, self._reach[1], height)
        first = top * width + left
        for row in range(int((bottom - top).max()) + 1):
            for column in range(int((right - left).max()) + 1):
                inside = np.flatnonzero((left + column <= right) & (top + row <= bottom))
                np.minimum.at(picture, first[inside] + (row * width + column), z[inside])
        return picture.reshape(height, width)


def _canvas(color: Calibration) -> tuple[tuple[int, int], tuple[int, int], Lens | None]:
    """Where points are painted: an ideal pinhole picture with colour's K that holds all that colour sees.

    Returns its height and width, its left upper corner in ideal pixels, and for each pixel of the real picture where
    its value lies on the canvas (None without distortion, where both are the same).
    """
    if not any(color.d):
        return (color.height, color.width), (0, 0), None
    ideal = undistort(color, np.dstack(np.meshgrid(np.arange(color.width), np.arange(color.height))).reshape(-1, 2))
    left, top = np.floor(ideal.min(axis=0)).astype(int)
    right, bottom = np.ceil(ideal.max(axis=0)).astype(int)
    places = (ideal - (left, top)).astype(np.float32).reshape(color.height, color.width, 2)
    lens = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return (int(bottom - top) + 1, int(right - left) + 1), (int(left), int(top)), lens


def undistort(camera: Calibration, pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Where pixels (N, 2) of a camera's raw picture would be without its lens's distortion, with the same K."""
    points = pixels.astype(np.float64).reshape(-1, 1, 2)
    matrix, coefficients = np.array(camera.k).reshape(3, 3), np.array(camera.d)
    library = cv2.fisheye if camera.distortion_model == "equidistant" else cv2
    return np.asarray(library.undistortPoints(points, matrix, coefficients, P=matrix), np.float64).reshape(-1, 2)


def _rays(depth: Calibration) -> NDArray[np.float32]:
    """Direction (height * width, 3) of each pixel of a rectified picture, with z = 1."""
    x = (np.arange(depth.width) - depth.p[2]) / depth.p[0]
    y = (np.arange(depth.height) - depth.p[6]) / depth.p[5]
    grid = np.dstack(np.meshgrid(x, y)).reshape(-1, 2)
    return np.concatenate([grid, np.ones((len(grid), 1))], axis=1).astype(np.float32)


def _covered(middle: NDArray[np.float32], reach: float, size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First and last pixel of `size` whose centre lies from middle - reach up to middle + reach; first > last: none."""
    first = np.ceil(middle - np.float32(reach)).astype(np.int32)
    end = np.ceil(middle + np.float32(reach)).astype(np.int32)
    return np.maximum(first, 0), np.minimum(end, size) - 1


def _close_cracks(picture: NDArray[np.uint16]) -> None:
    """Give pixels without depth between two of one surface, left and right or above and below, the nearer depth."""
    for before, middle, after in (
        (picture[:, :-2], picture[:, 1:-1], picture[:, 2:]),
        (picture[:-2], picture[1:-1], picture[2:]),
    ):
        crack = (middle == 0) & (before > 0) & (after > 0)
        where = np.nonzero(crack)
        nearer, farther = np.minimum(before[where], after[where]), np.maximum(before[where], after[where])
        middle[where] = np.where(farther - nearer <= SAME_SURFACE * nearer, nearer, 0)
