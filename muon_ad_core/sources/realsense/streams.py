# SPDX-License-Identifier: Apache-2.0
"""Streams of a RealSense device: which there are, choosing their modes, and their geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.calibration import Calibration, pinhole
from muon_ad_core.sources.realsense.library import load_library

STREAMS = {
    "color": ("color", 0, "rgb8"),
    "depth": ("depth", 0, "z16"),
    "infra1": ("infrared", 1, "y8"),
    "infra2": ("infrared", 2, "y8"),
}
"""Name -> stream, index and pixel format in pyrealsense2."""
MODELS = {"kannala_brandt4": ("equidistant", 4)}
"""Distortion in pyrealsense2 -> model of sensor_msgs/CameraInfo and its coefficients, where not plumb_bob with 5."""


@dataclass(frozen=True)
class Mode:
    """What is asked of every stream."""

    width: int
    height: int
    rate: int


@dataclass(frozen=True)
class Extrinsics:
    """Pose of one sensor seen from another: ``x_to = rotation @ x_from + translation``, optical axes (REP 103)."""

    rotation: NDArray[np.float64]
    """3x3."""
    translation: NDArray[np.float64]
    """Metres."""


def choose_profiles(device: Any, names: Sequence[str], mode: Mode) -> dict[str, Any]:
    """The stream profile of each name in this mode; raises SourceError that tells the modes there are."""
    profiles = [profile for sensor in device.query_sensors() for profile in sensor.get_stream_profiles()]
    chosen = {}
    for name in names:
        candidates = [profile.as_video_stream_profile() for profile in profiles if _is_stream(profile, name)]
        fitting = [profile for profile in candidates if _mode_of(profile) == mode]
        if not fitting:
            modes = sorted({_mode_of(profile) for profile in candidates}, key=lambda m: (m.width, m.height, m.rate))
            offered = ", ".join(f"{m.width}x{m.height} at {m.rate}" for m in modes) or "none at all"
            raise SourceError(
                f"the camera has no {name} stream of {mode.width}x{mode.height} at {mode.rate} Hz: it offers {offered}"
            )
        chosen[name] = fitting[0]
    return chosen


def _is_stream(profile: Any, name: str) -> bool:
    library = load_library()
    stream, index, pixel_format = STREAMS[name]
    return (
        profile.is_video_stream_profile()
        and profile.stream_type() == getattr(library.stream, stream)
        and profile.stream_index() == index
        and profile.format() == getattr(library.format, pixel_format)
    )


def _mode_of(profile: Any) -> Mode:
    return Mode(profile.width(), profile.height(), profile.fps())


def calibration_of(profile: Any) -> Calibration:
    """Factory calibration of a stream."""
    intrinsics = profile.get_intrinsics()
    model, count = MODELS.get(intrinsics.model.name, ("plumb_bob", 5))
    return pinhole(
        intrinsics.width,
        intrinsics.height,
        (intrinsics.fx, intrinsics.fy),
        (intrinsics.ppx, intrinsics.ppy),
        model,
        tuple(intrinsics.coeffs[:count]),
    )


def extrinsics_between(origin: Any, target: Any) -> Extrinsics:
    """From the sensor of profile `origin` to that of `target`."""
    given = origin.get_extrinsics_to(target)
    return Extrinsics(np.array(given.rotation).reshape(3, 3).T, np.array(given.translation))  # columns first in rs2
