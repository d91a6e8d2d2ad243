# SPDX-License-Identifier: Apache-2.0
"""Calibration of a real camera, with distortion, and the YAML file that camera_calibration writes it to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from muon_ad_core.errors import SourceError

COEFFICIENTS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
"""Distortion model of sensor_msgs/CameraInfo -> how many coefficients it has."""
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Calibration:
    """What sensor_msgs/CameraInfo says of a camera; matrices row by row, in pixels."""

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    """3x3."""
    r: tuple[float, ...]
    """3x3."""
    p: tuple[float, ...]
    """3x4."""


def pinhole(
    width: int, height: int, focal: tuple[float, float], center: tuple[float, float], model: str, d: tuple[float, ...]
) -> Calibration:
    """Calibration of an unrectified camera from focal lengths and principal point in pixels."""
    (fx, fy), (cx, cy) = focal, center
    k = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    p = (fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0)
    return Calibration(width, height, model, d, k, IDENTITY, p)


def load_calibration(path: Path) -> Calibration:
    """Read the YAML file of ROS's camera_calibration (camera_info_manager reads the same).

    Raises SourceError with the reason when the file is missing or damaged.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SourceError(f"the calibration {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" in line {line + 1}" if line is not None else ""
        raise SourceError(f"the calibration {path} is no valid YAML{where}: calibrate again, or mend it") from None
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SourceError(
            f"the calibration {path} is not as camera_calibration writes it ({reason}): calibrate again, or mend it"
        ) from None


def _parse(document: Any) -> Calibration:
    if not isinstance(document, dict):
        raise TypeError("it is not a mapping of names to values")
    model = document["distortion_model"]
    if model not in COEFFICIENTS:
        raise ValueError(f"distortion_model {model!r} is none of {', '.join(COEFFICIENTS)}")
    width, height = int(document["image_width"]), int(document["image_height"])
    if width <= 0 or height <= 0:
        raise ValueError(f"a picture of {width}x{height} has no pixels")
    return Calibration(
        width,
        height,
        model,
        _numbers(document, "distortion_coefficients", COEFFICIENTS[model]),
        _numbers(document, "camera_matrix", 9),
        _numbers(document, "rectification_matrix", 9),
        _numbers(document, "projection_matrix", 12),
    )


def _numbers(document: dict[str, Any], name: str, count: int) -> tuple[float, ...]:
    entry = document[name]
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), list):
        raise TypeError(f"{name} has no list 'data'")
    values = tuple(float(value) for value in entry["data"])
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} numbers, not {count}")
    return values
