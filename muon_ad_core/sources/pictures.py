# SPDX-License-Identifier: Apache-2.0
"""A picture, or the pictures of a folder one after the other, as a source of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from numpy.typing import NDArray

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.base import NANOSECONDS, Frame
from muon_ad_core.sources.natural import natural_order

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class PictureSource:
    """Pictures in their own size, upright as their EXIF tag says, in natural order of their names.

    Pictures that cannot be read are skipped, and ``damage`` then says how many.
    """

    live = False
    camera = None
    csi_camera = None
    stamps = "the exact multiples of the frame period"

    def __init__(self, path: str | Path, rate: float = 30.0, loop: bool = False) -> None:
        """``path``: a picture or a folder of pictures. Raises SourceError when none of them can be read."""
        self.name = str(path)
        self.rate = rate
        self.damage = ""
        self._loop = loop
        self._paths = _find_pictures(Path(path))
        first = next(self._pictures(), None)
        if first is None:
            raise SourceError(f"no picture can be read from {path}: the files are damaged or not pictures")
        self.height, self.width = first.shape[:2]

    def __iter__(self) -> Iterator[Frame]:
        """All pictures in turn, ``rate`` a second; without end when looping."""
        index = 0
        while True:
            start = index
            for picture in self._pictures():
                yield Frame(picture, stamp_ns=round(index * NANOSECONDS / self.rate), index=index)
                index += 1
            if index == start:
                raise SourceError(f"the pictures of {self.name} can no longer be read: were they deleted?")
            if not self._loop:
                return

    def close(self) -> None:
        """Nothing is held open."""

    def _pictures(self) -> Iterator[NDArray[Any]]:
        unreadable = 0
        for path in self._paths:
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                unreadable += 1
                total = len(self._paths)
                self.damage = f"{unreadable} of the {total} pictures in {self.name} cannot be read"
            else:
                yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _find_pictures(path: Path) -> list[Path]:
    """The picture itself, or a folder's pictures in natural order (2 before 10); SourceError when none."""
    if not path.is_dir():
        return [path]
    pictures = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    if not pictures:
        raise SourceError(f"the folder {path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return sorted(pictures, key=natural_order)
