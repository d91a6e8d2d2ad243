# SPDX-License-Identifier: Apache-2.0
"""Style pictures that come from a browser: checked, made smaller and kept as files of our own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np

from muon_ad_core.errors import StyleError

MOST_BYTES = 25_000_000
LONGEST_SIDE = 1024  # pixels; the style encoder looks at fewer
LONGEST_NAME = 40


def style_folder() -> Path:
    """Where uploaded style pictures are kept by default."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "muon_ad/styles"


def style_name(file_name: str, taken: Collection[str]) -> str:
    """A name for a style made of a file with this name: lower case, digits and _, none of `taken`."""
    stem = re.sub(r"[^a-z0-9]+", "_", Path(file_name).stem.lower()).strip("_")[:LONGEST_NAME] or "picture"
    names = (stem, *(f"{stem}_{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def keep_picture(data: bytes, name: str, folder: Path) -> Path:
    """Write the picture in `data` (PNG, JPEG, WebP ...) to `folder` as NAME.png, at most LONGEST_SIDE large.

    Encoding it anew leaves out whatever else the file held, such as where it was taken.

    Raises:
        StyleError: it is no picture, or the folder cannot be written.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise StyleError("this file cannot be read as a picture: choose a PNG, JPEG or WebP file")
    scale = LONGEST_SIDE / max(picture.shape[:2])
    if scale < 1.0:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    path = folder / f"{name}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise StyleError(f"{path} cannot be written: {error.strerror}") from None
    return path
