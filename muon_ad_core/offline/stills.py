# SPDX-License-Identifier: Apache-2.0
"""Picture files in and out: colour, grey, alpha, 16 bits, turned by EXIF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from muon_ad_core.errors import SourceError

ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff")
"""Formats that can hold transparency."""
JPEG_QUALITY = 95
ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Still:
    """A picture: RGB uint8 (H, W, 3), and its transparency (H, W) uint8 if it has any."""

    rgb: np.ndarray
    alpha: np.ndarray | None = None


def read_still(path: Path) -> Still:
    """The picture in a file, upright, with 8 bits a channel; raises SourceError when it cannot be read."""
    if not path.is_file():
        raise SourceError(f"there is no picture {path}: check the path")
    try:
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more pixels than OpenCV decodes
        raw = None
    if raw is None or not raw.size:
        raise SourceError(f"{path} cannot be read as a picture: it is damaged, or of an unknown format")
    upright = _turned(_to_eight_bits(raw), _orientation(path))
    if upright.ndim == 2:
        return Still(cv2.cvtColor(upright, cv2.COLOR_GRAY2RGB))
    if upright.shape[2] == 2:  # grey with transparency
        return Still(cv2.cvtColor(upright[..., 0], cv2.COLOR_GRAY2RGB), np.ascontiguousarray(upright[..., 1]))
    if upright.shape[2] == 4:
        return Still(cv2.cvtColor(upright, cv2.COLOR_BGRA2RGB), np.ascontiguousarray(upright[..., 3]))
    return Still(cv2.cvtColor(upright[..., :3], cv2.COLOR_BGR2RGB))


def write_still(path: Path, still: Still) -> None:
    """Write a picture, its transparency where the format has it; raises SourceError when it cannot be written."""
    bgr = cv2.cvtColor(still.rgb, cv2.COLOR_RGB2BGR)
    if still.alpha is not None and path.suffix.lower() in ALPHA_SUFFIXES:
        bgr = np.dstack([bgr, still.alpha])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix.lower() in (".jpg", ".jpeg") else []
        written = cv2.imwrite(str(path), bgr, quality)
    except (cv2.error, OSError):
        written = False
    if not written:
        raise SourceError(f"{path} cannot be written: check the folder, and that the suffix is that of a picture")


def _to_eight_bits(raw: np.ndarray) -> np.ndarray:
    if raw.dtype == np.uint8:
        return raw
    if raw.dtype == np.uint16:
        return cv2.convertScaleAbs(raw, alpha=255 / 65535)
    # Floating point (TIFF, EXR): 0 to 1.
    return (np.clip(np.nan_to_num(raw.astype(np.float32)), 0, 1) * 255 + 0.5).astype(np.uint8)


def _orientation(path: Path) -> int:
    """The EXIF orientation, 1 to 8; OpenCV applies it only where it drops transparency."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(ORIENTATION_TAG, 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow cannot read has no EXIF
        return 1


def _turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """The picture upright: EXIF counts turns and mirrorings (CIPA DC-008, tag 274)."""
    turns = {3: cv2.ROTATE_180, 4: cv2.ROTATE_180, 5: cv2.ROTATE_90_CLOCKWISE, 6: cv2.ROTATE_90_CLOCKWISE,
             7: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}  # fmt: skip
    turned = cv2.rotate(picture, turns[orientation]) if orientation in turns else picture
    return cv2.flip(turned, 1) if orientation in (2, 4, 5, 7) else turned
