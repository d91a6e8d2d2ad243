# SPDX-License-Identifier: Apache-2.0
"""A camera that pans over photographs: they hang in a row on a wall, and it jumps from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.base import CameraModel, Pose, look_at
from muon_ad_core.sources.photographs import load_photograph

PHOTOGRAPHS = {
    "astronaut.png": 0.38,
    "chelsea.png": 0.45,
    "coffee.png": 0.5,
    "motorcycle_left.png": 0.5,
    "rocket.jpg": 0.5,
}
"""Photographs, and at which part of their height the camera looks."""
SECONDS_EACH = 8.0
WALL_DISTANCE = 2.0
SPACING = 10.0
"""Metres from one photograph's middle to the next one's, along x."""
VISIBLE = 0.85
"""Part of a photograph that the camera sees at rest."""
ATLAS_PIXELS = 1.5
"""Pixels of an enlarged photograph per pixel of the view, so that sampling keeps its sharpness in motion."""


@dataclass(frozen=True)
class Photograph:
    """RGBA pixels, ATLAS_PIXELS to one of the view, and the column and row that hang before the camera."""

    pixels: NDArray[Any]
    middle: tuple[float, float]


class Gallery:
    """The photographs on their wall at z = WALL_DISTANCE, and the camera's way past them."""

    def __init__(self, width: int, height: int) -> None:
        """Raises SourceError when scikit-image's pictures are missing."""
        focal = float(width)
        self.camera = CameraModel(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        self._photographs = [_hang(load_photograph(file), width, height, part) for file, part in PHOTOGRAPHS.items()]

    def pose(self, seconds: float) -> Pose:
        """Where the camera is: a smooth sway and dolly before one photograph, then before the next."""
        rounds = seconds / SECONDS_EACH
        number = int(rounds) % len(PHOTOGRAPHS)
        phase = 2 * np.pi * (rounds % 1.0)
        middle = np.array([SPACING * number, 0.0, 0.0])
        center = middle + [0.08 * np.sin(phase + number), 0.05 * np.cos(phase), 0.1 - 0.1 * np.cos(phase)]
        target = middle + [0.1 * np.sin(phase + number), 0.05 * np.cos(phase), WALL_DISTANCE]
        return look_at(center, target, roll=0.02 * np.sin(phase))

    def view(self) -> GalleryView:
        """A camera to render with."""
        return GalleryView(self._photographs, self.camera)


class GalleryView:
    """A camera in the gallery, to be put at any pose."""

    def __init__(self, photographs: list[Photograph], camera: CameraModel) -> None:
        self._photographs = photographs
        self._camera = camera
        self._pose: Pose = np.eye(4)
        self._sampled = np.empty((camera.height, camera.width, 4), np.uint8)

    def render(self, pose: Pose, target: NDArray[np.uint8]) -> None:
        """Put the colour picture seen from ``pose`` into ``target``: uint8 RGB, height x width x 3."""
        self._pose = pose
        cv2.warpPerspective(
            self._photographs[_number(pose)].pixels,
            self._to_photograph(pose),
            self._sampled.shape[1::-1],
            dst=self._sampled,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        cv2.cvtColor(self._sampled, cv2.COLOR_RGBA2RGB, dst=target)

    def depth(self) -> None:
        """Photographs come without depth."""
        return None

    def flow_since(self, pose: Pose) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """True motion as in ``layered.View.flow_since``; valid nowhere when the photograph has changed."""
        height, width = self._sampled.shape[:2]
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        h = np.linalg.inv(self._to_photograph(pose)) @ self._to_photograph(self._pose)
        was_x, was_y, scale = (row[0] * x + row[1] * y + row[2] for row in h)
        was_x, was_y = was_x / scale, was_y / scale
        valid = (was_x >= 0) & (was_x <= width - 1) & (was_y >= 0) & (was_y <= height - 1)
        valid &= _number(pose) == _number(self._pose)
        return np.dstack([x - was_x, y - was_y]).astype(np.float32), valid

    def _to_photograph(self, pose: Pose) -> NDArray[np.float64]:
        """Homography from a pixel of this view to one of the photograph, through the wall's plane."""
        column, row = self._photographs[_number(pose)].middle
        center = pose[:3, 3] - [SPACING * _number(pose), 0.0, 0.0]
        ray = pose[:3, :3] @ np.linalg.inv(self._camera.k())
        on_wall = (WALL_DISTANCE - center[2]) * np.eye(3)
        on_wall[:, 2] += center
        scale = ATLAS_PIXELS * self._camera.fx
        to_pixel = np.array([[scale, 0.0, column], [0.0, scale, row], [0.0, 0.0, 1.0]])
        return to_pixel @ on_wall @ ray


def _number(pose: Pose) -> int:
    """Which photograph a camera stands before."""
    return round(pose[0, 3] / SPACING)


def _hang(picture: NDArray[Any], width: int, height: int, middle_part: float) -> Photograph:
    """Enlarge a photograph so that a camera at rest sees VISIBLE of its tighter side."""
    scale = ATLAS_PIXELS / VISIBLE * max(width / picture.shape[1], height / picture.shape[0])
    enlarged = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4)
    middle = (0.5 * (enlarged.shape[1] - 1), middle_part * (enlarged.shape[0] - 1))
    return Photograph(cv2.cvtColor(enlarged, cv2.COLOR_RGB2RGBA), middle)
