# SPDX-License-Identifier: Apache-2.0
"""A camera that pans over photographs: they hang in a row on one wall, and every few seconds it jumps to the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.base import CameraModel, Pose, look_at
from muon_ad_core.sources.photographs import load_photograph

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
SECONDS_EACH = 8.0
WALL_DISTANCE = 2.0
SPACING = 10.0
"""Metres from one photograph's middle to the next one's, along x."""
VISIBLE = 0.8
"""Part of a photograph that the camera sees at rest."""
ATLAS_PIXELS = 1.5
"""Pixels of an enlarged photograph per pixel of the view: bilinear sampling then keeps its sharpness in motion."""


class Gallery:
    """The photographs on their wall at z = WALL_DISTANCE, and the camera's way past them."""

    def __init__(self, width: int, height: int) -> None:
        """Raises SourceError when scikit-image's pictures are missing."""
        self.camera = CameraModel(width, height, float(width), float(width), (width - 1) / 2, (height - 1) / 2)
        self._pictures = [_fit(load_photograph(file), width, height) for file in PHOTOGRAPHS]

    def pose(self, seconds: float) -> Pose:
        """Where the camera is: a smooth sway and dolly in front of one photograph, then in front of the next."""
        number = int(seconds // SECONDS_EACH)
        phase = 2 * np.pi * (seconds / SECONDS_EACH - number)
        middle = np.array([SPACING * (number % len(PHOTOGRAPHS)), 0.0, 0.0])
        center = middle + [0.08 * np.sin(phase + number), 0.05 * np.cos(phase), 0.1 - 0.1 * np.cos(phase)]
        target = middle + [0.1 * np.sin(phase + number), 0.05 * np.cos(phase), WALL_DISTANCE]
        return look_at(center, target, roll=0.02 * np.sin(phase))

    def view(self, camera: CameraModel) -> GalleryView:
        """A camera to render with."""
        return GalleryView(self._pictures, camera)


class GalleryView:
    """A virtual camera in the gallery. Its picture lives in a buffer that the next ``render`` overwrites."""

    def __init__(self, pictures: list[NDArray[np.uint8]], camera: CameraModel) -> None:
        self._pictures = pictures
        self._camera = camera
        self._number = 0
        self._to_picture = np.eye(3)
        self._sampled = np.empty((camera.height, camera.width, 4), np.uint8)
        self._color = np.empty((camera.height, camera.width, 3), np.uint8)

    def render(self, pose: Pose) -> NDArray[np.uint8]:
        """Colour picture seen from ``pose``: uint8 RGB, height x width x 3."""
        self._number = round(pose[0, 3] / SPACING)
        picture = self._pictures[self._number]
        self._to_picture = self._homography(pose, picture.shape[1], picture.shape[0])
        cv2.warpPerspective(
            picture,
            self._to_picture,
            self._color.shape[1::-1],
            dst=self._sampled,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return cv2.cvtColor(self._sampled, cv2.COLOR_RGBA2RGB, dst=self._color)

    def depth(self) -> None:
        """Photographs come without depth."""
        return None

    def flow_from(self, previous: GalleryView) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """True motion since ``previous``, as ``layered.View.flow_from``; nowhere valid when the photograph changed."""
        height, width = self._color.shape[:2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        h = np.linalg.inv(previous._to_picture) @ self._to_picture
        was_x, was_y, scale = (row[0] * x + row[1] * y + row[2] for row in h)
        was_x, was_y = was_x / scale, was_y / scale
        valid = (was_x >= 0) & (was_x <= width - 1) & (was_y >= 0) & (was_y <= height - 1)
        valid &= self._number == previous._number
        return np.dstack([x - was_x, y - was_y]).astype(np.float32), valid

    def _homography(self, pose: Pose, width: int, height: int) -> NDArray[np.float64]:
        """From a pixel of this view to a pixel of the photograph, through the wall's plane."""
        center = pose[:3, 3] - [SPACING * self._number, 0.0, 0.0]
        ray = pose[:3, :3] @ np.linalg.inv(self._camera.k())
        on_wall = (WALL_DISTANCE - center[2]) * np.eye(3)
        on_wall[:, 2] += center
        pixels_per_metre = ATLAS_PIXELS * self._camera.fx / WALL_DISTANCE
        to_pixel = np.array(
            [
                [pixels_per_metre, 0.0, (width - 1) / 2 / WALL_DISTANCE],
                [0.0, pixels_per_metre, (height - 1) / 2 / WALL_DISTANCE],
                [0.0, 0.0, 1 / WALL_DISTANCE],
            ]
        )
        return to_pixel @ on_wall @ ray


def _fit(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Enlarge a photograph so that a camera at rest sees VISIBLE of its tighter side; RGBA."""
    scale = ATLAS_PIXELS / VISIBLE * max(width / picture.shape[1], height / picture.shape[0])
    enlarged = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4)
    return cv2.cvtColor(enlarged, cv2.COLOR_RGB2RGBA)
