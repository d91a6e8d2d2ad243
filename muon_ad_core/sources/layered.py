# SPDX-License-Identifier: Apache-2.0
"""Renders a layered depth picture from a moving pinhole camera, with its true depth and optical flow.

The scene is a photograph split into a background and a foreground layer of one reference camera, with an
inverse depth for every pixel (layered depth images: Shade et al., SIGGRAPH 1998). For a view, each layer is
warped backward: with the ray of a target pixel written as a = r_xy / r_z in the reference frame, and the
view's centre c, the point of inverse depth rho on that ray lies in the reference picture at

    s = f * (a + rho * (c_xy - c_z * a)) + (cx, cy)

so rho <- inverse_depth(s) is iterated to its fixed point. Inside a layer the inverse depth must be smooth
enough for that to contract; what jumps in depth belongs into the other layer. The iteration runs on a coarse
grid that is then enlarged; colours are sampled once, at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.base import CameraModel, Pose

GRID = 8
"""Pixels between the points at which a warp is solved."""
ITERATIONS = 5

Float = NDArray[Any]
"""float32"""


@dataclass(frozen=True)
class Layer:
    """One layer, in pixels of the reference camera.

    color: uint8, (scale*H) x (scale*W) x 4. Background: RGB, and 255 where a depth sensor sees it, else 0.
    Foreground: RGB times opacity, and 255 minus opacity.
    inverse_depth: float32, H x W, 1/metres, > 0.
    """

    color: NDArray[Any]
    inverse_depth: Float


@dataclass(frozen=True)
class LayeredScene:
    """What a ``View`` renders; the world frame is the optical frame of the reference camera."""

    reference: CameraModel
    background: Layer
    foreground: Layer


class Warp(NamedTuple):
    """What a view sees of one layer at its grid points: the reference picture's pixel, its inverse depth."""

    x: Float
    y: Float
    inverse_depth: Float


class View:
    """A camera in a scene, to be put at any pose. Its depth picture is overwritten by the next one."""

    def __init__(self, scene: LayeredScene, camera: CameraModel) -> None:
        self._scene = scene
        self._camera = camera
        shape = (camera.height, camera.width)
        columns, rows = -(-camera.width // GRID) + 2, -(-camera.height // GRID) + 2
        # One cell of margin on every side, because the enlargement clamps at its border.
        x = ((np.arange(columns) - 0.5) * GRID - 0.5 - camera.cx) / camera.fx
        y = ((np.arange(rows) - 0.5) * GRID - 0.5 - camera.cy) / camera.fy
        self._ray_x, self._ray_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        self._enlarged = [np.empty((rows * GRID, columns * GRID), np.float32) for _ in range(2)]
        self._back, self._front, self._blend = (np.empty((*shape, 4), np.uint8) for _ in range(3))
        self._see_through = np.empty(shape, np.uint8)
        self._depth = np.empty(shape, np.uint16)
        self._pose: Pose = np.eye(4)
        self._warps: tuple[Warp, ...] = ()

    def render(self, pose: Pose, target: NDArray[np.uint8]) -> None:
        """Put the colour picture seen from ``pose`` into ``target``: uint8 RGB, height x width x 3."""
        layers = self._scene.background, self._scene.foreground
        self._pose = pose
        self._warps = tuple(self._solve(layer.inverse_depth) for layer in layers)
        for layer, warp, sampled in zip(layers, self._warps, (self._back, self._front), strict=True):
            height, width = layer.inverse_depth.shape
            x_scale, y_scale = layer.color.shape[1] / width, layer.color.shape[0] / height
            x = self._enlarge(x_scale * warp.x + (x_scale - 1) / 2, 0)
            y = self._enlarge(y_scale * warp.y + (y_scale - 1) / 2, 1)
            cv2.remap(layer.color, x, y, cv2.INTER_LINEAR, dst=sampled, borderMode=cv2.BORDER_REPLICATE)
        cv2.extractChannel(self._front, 3, self._see_through)
        cv2.cvtColor(self._see_through, cv2.COLOR_GRAY2RGBA, dst=self._blend)
        cv2.multiply(self._back, self._blend, self._blend, 1 / 255)
        cv2.add(self._front, self._blend, self._blend)
        cv2.cvtColor(self._blend, cv2.COLOR_RGBA2RGB, dst=target)

    def depth(self) -> NDArray[np.uint16]:
        """Depth of the rendered picture: uint16, millimetres along the view's axis, 0 where sensors see none."""
        back, front = (self._enlarge(self._project(warp)[2], i) for i, warp in enumerate(self._warps))
        is_back = self._see_through > 127
        np.copyto(front, back, where=is_back)
        np.copyto(front, np.inf, where=is_back & (self._back[..., 3] < 128))
        np.divide(1000.0, front, out=front)
        np.copyto(self._depth, front, casting="unsafe")
        return self._depth

    def flow_since(self, pose: Pose) -> tuple[Float, NDArray[np.bool_]]:
        """True motion in pixels, at each pixel of the rendered picture, since the camera was at ``pose``.

        Returns the flow (float32, height x width x 2; the scene point was at ``pixel - flow``) and where that
        point is seen from both poses (bool, height x width).
        """
        height, width = self._depth.shape
        previous = View(self._scene, self._camera)
        previous.render(pose, np.empty((height, width, 3), np.uint8))
        is_front = self._see_through < 128
        (back_x, back_y), (front_x, front_y) = (
            [self._enlarge(position, i).copy() for i, position in enumerate(previous._project(warp)[:2])]
            for warp in self._warps
        )
        was_x, was_y = np.where(is_front, front_x, back_x), np.where(is_front, front_y, back_y)
        was_front = cv2.remap(previous._see_through, was_x, was_y, cv2.INTER_LINEAR) < 128
        inside = (was_x >= 0) & (was_x <= width - 1) & (was_y >= 0) & (was_y <= height - 1)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        return np.dstack([x - was_x, y - was_y]), inside & (was_front == is_front)

    def _solve(self, inverse_depth: Float) -> Warp:
        """Fixed point of the module's formula for every grid point."""
        reference = self._scene.reference
        r, (cx, cy, cz) = self._pose[:3, :3].astype(np.float32), self._pose[:3, 3].astype(np.float32)
        x, y, z = (row[0] * self._ray_x + row[1] * self._ray_y + row[2] for row in r)
        x, y = x / z, y / z
        far_x, far_y = reference.fx * x + reference.cx, reference.fy * y + reference.cy
        shift_x, shift_y = reference.fx * (cx - cz * x), reference.fy * (cy - cz * y)
        rho = np.full_like(x, inverse_depth.mean())
        for _ in range(ITERATIONS):
            x, y = far_x + rho * shift_x, far_y + rho * shift_y
            rho = cv2.remap(inverse_depth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return Warp(x, y, rho)

    def _project(self, warp: Warp) -> tuple[Float, Float, Float]:
        """Where this view sees the points of a warp (of any view): pixel x, y and inverse depth."""
        reference, camera = self._scene.reference, self._camera
        r, (cx, cy, cz) = self._pose[:3, :3].astype(np.float32), self._pose[:3, 3].astype(np.float32)
        rho = warp.inverse_depth
        x = (warp.x - reference.cx) / reference.fx - rho * cx
        y = (warp.y - reference.cy) / reference.fy - rho * cy
        z = 1 - rho * cz
        x, y, z = (column[0] * x + column[1] * y + column[2] * z for column in r.T)
        return camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy, rho / z

    def _enlarge(self, grid: Float, buffer: int) -> Float:
        """Grid values interpolated at every pixel, in one of two buffers."""
        full = self._enlarged[buffer]
        cv2.resize(grid, full.shape[::-1], dst=full, interpolation=cv2.INTER_LINEAR)
        return full[GRID : GRID + self._camera.height, GRID : GRID + self._camera.width]
