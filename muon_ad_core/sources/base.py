# SPDX-License-Identifier: Apache-2.0
"""What every picture source hands out: frames, and the geometry of the cameras that took them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NANOSECONDS = 1_000_000_000
"""In a second."""

Pose = NDArray[np.float64]
"""Camera to world, 4x4, metres."""


@dataclass(frozen=True)
class CameraModel:
    """Pinhole camera without distortion, in pixels; optical frame: x right, y down, z forward (REP 103).

    ``baseline`` is how far, in metres, this camera stands to the right (+x) of the colour camera with
    parallel axes: a point at depth Z appears ``fx * baseline / Z`` pixels further left than there.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    baseline: float = 0.0

    def k(self) -> NDArray[np.float64]:
        """Intrinsic matrix, 3x3 (``K`` of sensor_msgs/CameraInfo)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def p(self) -> NDArray[np.float64]:
        """Projection matrix, 3x4 (``P`` of sensor_msgs/CameraInfo): ``P[0, 3] = -fx * baseline``."""
        return np.hstack([self.k(), [[-self.fx * self.baseline], [0.0], [0.0]]])


@dataclass
class Frame:
    """One picture of a source and what belongs to it.

    The arrays are the source's own buffers and valid until its next frame; copy what is kept longer.
    """

    color: NDArray[np.uint8]
    """Height x width x 3, in the order of ``encoding``."""
    stamp_ns: int
    """Time of exposure, nanoseconds since the source's first frame; never decreases, not even in a loop."""
    index: int
    """Number of the frame since the source's start; a gap in it is a frame that was dropped."""
    depth: NDArray[np.uint16] | None = None
    """Height x width, millimetres along the optical axis, registered to ``color``; 0 where not measured."""
    second: NDArray[np.uint8] | None = None
    """Picture of the second (CSI) camera, same stamp and encoding."""
    flow: NDArray[np.float32] | None = None
    """Height x width x 2, pixels (x, y): how far the scene point at this pixel has moved in ``color`` since
    the previous frame, where it was at ``pixel - flow``. On request, from sources that know the truth."""
    flow_valid: NDArray[np.bool_] | None = None
    """Height x width: the scene point was visible in the previous frame too."""
    encoding: str = "rgb8"


class FrameSource(Protocol):
    """What all picture sources have in common: iterate for frames, close when done."""

    name: str
    width: int
    height: int
    rate: float
    """Frames per second."""
    live: bool
    """True when iterating waits for the next frame (a device); otherwise the caller paces by ``stamp_ns``."""
    stamps: str
    """Where ``stamp_ns`` comes from, in words."""
    damage: str
    """What could not be read so far, in one sentence; empty while all is well."""

    @property
    def camera(self) -> CameraModel | None:
        """Intrinsics of the colour (and registered depth) camera; None when nobody knows them."""

    @property
    def csi_camera(self) -> CameraModel | None:
        """Intrinsics of the second camera; None when there is none."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


def look_at(center: NDArray[np.float64], target: NDArray[np.float64], roll: float = 0.0) -> Pose:
    """Pose of an upright (y down) camera at ``center`` looking at ``target``, rolled by ``roll`` radians."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross([np.sin(-roll), np.cos(roll), 0.0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.column_stack([right, np.cross(forward, right), forward, center])
    return pose
