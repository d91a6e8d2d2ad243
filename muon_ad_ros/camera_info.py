# SPDX-License-Identifier: Apache-2.0
"""Camera calibration messages: made from a camera model, and matched to the frames they belong to."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from muon_ad_core.sources.base import CameraModel
from muon_ad_core.sources.calibration import Calibration


def camera_info_message(camera: CameraModel) -> CameraInfo:
    """Calibration of an ideal, undistorted camera (plumb_bob with zero coefficients, REP 104)."""
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=camera.k().ravel().tolist(),
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=camera.p().ravel().tolist(),
    )


def calibration_message(calibration: Calibration) -> CameraInfo:
    """A real camera's calibration."""
    return CameraInfo(
        width=calibration.width,
        height=calibration.height,
        distortion_model=calibration.distortion_model,
        d=list(calibration.d),
        k=list(calibration.k),
        r=list(calibration.r),
        p=list(calibration.p),
    )


def calibration_of(info: CameraInfo) -> Calibration:
    """What a message says of its camera; where it leaves out P, that of an unrectified camera by its K."""
    k = tuple(map(float, info.k))
    p = tuple(map(float, info.p)) if info.p[0] else (*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0)
    r = tuple(map(float, info.r))
    return Calibration(info.width, info.height, info.distortion_model, tuple(map(float, info.d)), k, r, p)


class LatestCameraInfo:
    """Remembers the newest calibration of a camera.

    Calibrations change rarely, so that the newest one serves every frame of its size, whichever arrived first.
    """

    def __init__(self) -> None:
        self._info: CameraInfo | None = None

    def remember(self, info: CameraInfo) -> None:
        self._info = info

    def stamped(self, header: Header, width: int, height: int) -> CameraInfo | None:
        """The calibration with `header`, or None when there is none for pictures of this size."""
        info = self._info
        if info is None or (info.width, info.height) != (width, height):
            return None
        info.header = header
        return info
