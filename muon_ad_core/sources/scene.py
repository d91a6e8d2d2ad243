# SPDX-License-Identifier: Apache-2.0
"""Emulated depth camera with a CSI camera beside it, moving through real pictures with true geometry."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.base import NANOSECONDS, CameraModel, Frame, Pose
from muon_ad_core.sources.motorcycle import MotorcycleScene
from muon_ad_core.sources.pan import Gallery


class SceneView(Protocol):
    """A camera in a scene, see ``layered.View``."""

    def render(self, pose: Pose, target: NDArray[np.uint8]) -> None: ...

    def depth(self) -> NDArray[np.uint16] | None: ...

    def flow_since(self, pose: Pose) -> tuple[NDArray[np.float32], NDArray[np.bool_]]: ...


class Scene(Protocol):
    """Something to film, and the camera that suits it."""

    camera: CameraModel

    def __init__(self, width: int, height: int) -> None: ...

    def pose(self, seconds: float) -> Pose: ...

    def view(self) -> SceneView: ...


SCENES: dict[str, type[Scene]] = {"motorcycle": MotorcycleScene, "pan": Gallery}
CSI_BASELINE = 0.05
"""Metres from the colour camera to the CSI camera, to the right."""


class SceneSource:
    """A picture source whose frames depend on their number and the seed alone: any can be had at once.

    "motorcycle": a stereo photograph reprojected with true parallax, and its depth. The depth is rendered
    from the colour camera itself (same intrinsics and pose), as a D415 gives it after alignment to colour.
    "pan": photographs one after the other, without depth.
    """

    live = False
    stamps = "the exact multiples of the frame period"
    damage = ""

    def __init__(
        self,
        name: str,
        width: int = 640,
        height: int = 480,
        rate: float = 30.0,
        seed: int = 0,
        speed: float = 1.0,
    ) -> None:
        """Raises SourceError for an unknown name, or when scikit-image's pictures are missing.

        rate: frames per second. seed: where on its path the camera starts, 0 is the path's beginning.
        speed: factor on the camera's motion, 0 is a still scene.
        """
        if name not in SCENES:
            raise SourceError(f"there is no emulated scene {name!r}: choose one of {', '.join(SCENES)}")
        self.name, self.width, self.height, self.rate = name, width, height, rate
        self._speed = speed
        self._start = 1000.0 * float(np.random.default_rng(seed).random()) if seed else 0.0
        self._scene = SCENES[name](width, height)
        self.camera: CameraModel = self._scene.camera
        self.csi_camera: CameraModel = dataclasses.replace(self.camera, baseline=CSI_BASELINE)
        self._view = self._scene.view()
        self._color, self._second = (np.empty((height, width, 3), np.uint8) for _ in range(2))

    def pose(self, index: int) -> Pose:
        """True camera-to-world pose of the colour camera in frame ``index``, 4x4, metres."""
        return self._scene.pose(self._start + self._speed * index / self.rate)

    def csi_pose(self, index: int) -> Pose:
        """True camera-to-world pose of the CSI camera in frame ``index``, 4x4, metres."""
        pose = self.pose(index)
        pose[:3, 3] += CSI_BASELINE * pose[:3, 0]
        return pose

    def frame(self, index: int, with_flow: bool = False, with_second: bool = True) -> Frame:
        """Frame ``index``; ``with_flow`` adds the true flow since frame ``index - 1`` and where it is valid.

        Leaving out the second camera's picture saves nearly half of the time.
        """
        frame = Frame(self._color, stamp_ns=round(index * NANOSECONDS / self.rate), index=index)
        if with_second:
            frame.second = self._second
            self._view.render(self.csi_pose(index), self._second)
        self._view.render(self.pose(index), self._color)
        frame.depth = self._view.depth()
        if with_flow:
            frame.flow, frame.flow_valid = self._view.flow_since(self.pose(index - 1))
        return frame

    def __iter__(self) -> Iterator[Frame]:
        """All frames from the first, without end."""
        return map(self.frame, count())

    def close(self) -> None:
        """Nothing is held open."""
