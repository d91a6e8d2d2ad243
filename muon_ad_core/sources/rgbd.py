# SPDX-License-Identifier: Apache-2.0
"""A folder of RGB-D frames with poses, as 7-Scenes and the 3DMatch tools lay them out.

``frame-NNNNNN.color.jpg`` (or .png), ``frame-NNNNNN.depth.png`` (16 bit, millimetres), ``frame-NNNNNN.pose.txt``
(camera to world, 4x4, metres), and ``camera-intrinsics.txt`` (3x3) for both cameras.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.base import NANOSECONDS, CameraModel, Frame, Pose

INTRINSICS = "camera-intrinsics.txt"
NOT_MEASURED = 65535  # what 7-Scenes writes for it, beside 0


def is_rgbd_folder(path: Path) -> bool:
    """Whether a folder looks like one of these."""
    return path.is_dir() and any(path.glob("frame-*.depth.png"))


class RgbdFolder:
    """The frames in the order of their names, at a fixed rate, once through."""

    live = False
    csi_camera = None
    damage = ""

    def __init__(self, path: Path, rate: float = 30.0) -> None:
        """Raises SourceError when the folder has no colour frames or an unreadable one."""
        self.name, self.rate = str(path), rate
        self.stamps = f"periods of {rate:g} Hz, because the folder has no times"
        self._files = sorted([*path.glob("frame-*.color.jpg"), *path.glob("frame-*.color.png")])
        if not self._files:
            raise SourceError(f"{path} has no frame-NNNNNN.color.jpg: name a folder in the layout of 7-Scenes")
        self.height, self.width = self._read(self._files[0], cv2.IMREAD_COLOR).shape[:2]
        self.camera = self._camera(path / INTRINSICS)

    def __iter__(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            depth_file = self._beside(index, "depth.png")
            depth = self._read(depth_file, cv2.IMREAD_UNCHANGED).astype(np.uint16) if depth_file.is_file() else None
            if depth is not None:
                depth[depth == NOT_MEASURED] = 0
            color = np.asarray(cv2.cvtColor(self._read(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(color, stamp_ns=round(index * NANOSECONDS / self.rate), index=index, depth=depth)

    def pose(self, index: int) -> Pose | None:
        """Camera to world of a frame; None when the folder has none for it."""
        file = self._beside(index, "pose.txt")
        return np.loadtxt(file).reshape(4, 4) if file.is_file() else None

    def close(self) -> None:
        """Nothing is held open."""

    def _beside(self, index: int, ending: str) -> Path:
        file = self._files[index]
        return file.with_name(f"{file.name.split('.')[0]}.{ending}")

    def _camera(self, path: Path) -> CameraModel | None:
        if not path.is_file():
            return None
        k = np.loadtxt(path).reshape(3, 3)
        return CameraModel(self.width, self.height, k[0, 0], k[1, 1], k[0, 2], k[1, 2])

    @staticmethod
    def _read(path: Path, flags: int) -> np.ndarray:
        picture = cv2.imread(str(path), flags)
        if picture is None:
            raise SourceError(f"{path} cannot be read as a picture: was it copied in full?")
        return picture
