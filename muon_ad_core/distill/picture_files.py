# SPDX-License-Identifier: Apache-2.0
"""Pictures and masks a user names: any size and mode, upright, as RGB; what cannot be used is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import SourceError

SMALLEST_SIDE = 16
MOST_PIXELS = 100_000_000
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MOST_LABELS = 16


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3), EXIF orientation applied, 16 bits scaled to 8, transparency laid over white.

    Raises SourceError for a file that is missing, no picture, tiny or huge.
    """
    picture = _eight_bits(_decode(path), path)
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise SourceError(f"{path} has {width}x{height} pixels: take a picture of at least {SMALLEST_SIDE} a side")
    if picture.ndim == 2 or picture.shape[2] == 1:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
    if picture.shape[2] == 4:
        opacity = picture[..., 3:].astype(np.float32) / 255
        picture = (picture[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def read_labels(path: Path) -> NDArray[np.uint8]:
    """A mask (H, W): every grey level is the label of a region. Raises SourceError as above, or for many labels."""
    picture = _eight_bits(_decode(path), path)
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture[..., :3], cv2.COLOR_BGR2GRAY)
    count = len(np.unique(grey))
    if count > MOST_LABELS:
        raise SourceError(
            f"the mask {path} has {count} grey levels: paint at most {MOST_LABELS} flat regions and save it without "
            "loss, as PNG"
        )
    return np.asarray(grey, np.uint8)


def check_writable(path: Path) -> None:
    """Raises SourceError when a picture cannot be written there, so that nobody waits for it in vain."""
    if path.suffix.lower() not in WRITABLE:
        raise SourceError(f"the ending of {path} names no picture format: use one of {', '.join(WRITABLE)}")
    if not path.resolve().parent.is_dir():
        raise SourceError(f"there is no folder {path.resolve().parent}: make it, or write elsewhere")


def write_rgb(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write RGB uint8 (H, W, 3) in the format of the ending; raises SourceError when that fails."""
    check_writable(path)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise SourceError(f"{path} cannot be written: is the disk full, or the folder not yours?")


def _decode(path: Path) -> NDArray[np.generic]:
    if not path.is_file():
        raise SourceError(f"there is no picture {path}: check the name")
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}): check its permissions") from None
    # Only the flags without IMREAD_UNCHANGED turn the picture upright, only IMREAD_UNCHANGED keeps transparency.
    picture = _imdecode(content, cv2.IMREAD_UNCHANGED)
    if picture is not None and (picture.ndim == 2 or picture.shape[2] != 4):
        picture = _imdecode(content, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if picture is None:
        raise SourceError(f"{path} cannot be read as a picture: is it damaged, or of an unusual format?")
    if picture.shape[0] * picture.shape[1] > MOST_PIXELS:
        raise SourceError(f"{path} has more than {MOST_PIXELS // 1_000_000} megapixels: scale it down first")
    return picture


def _imdecode(content: NDArray[np.uint8], flags: int) -> NDArray[np.generic] | None:
    if not content.size:
        return None
    try:
        return cv2.imdecode(content, flags)
    except cv2.error:
        return None


def _eight_bits(picture: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture  # type: ignore[return-value]
    if picture.dtype == np.uint16:
        return (picture.astype(np.float32) / 257).round().astype(np.uint8)
    raise SourceError(f"{path} has pixels of type {picture.dtype}: save it with 8 or 16 bits a channel")
