# SPDX-License-Identifier: Apache-2.0
"""Training pictures: folders of photographs and of styles, read and cropped with a seeded generator."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from muon_ad_core.errors import UserError

ZOOM = (1.0, 2.2)
"""Shorter side of a photograph by that of the square cut out of it: of small views, sharp ones and soft ones."""
PART = 0.6
"""Sides of a part of a style's picture by the picture's own."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def list_pictures(folder: Path) -> list[Path]:
    """Picture files below a folder in a stable order; raises UserError when there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"no pictures (jpg, png, webp, bmp) in {folder}: give a folder that holds some")
    return found


def read_picture(path: Path) -> np.ndarray | None:
    """RGB uint8 (H, W, 3), EXIF orientation applied; None when the file cannot be decoded."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def resize_long_side(picture: np.ndarray, side: int) -> np.ndarray:
    """Scale so that the longer side has `side` pixels."""
    factor = side / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def random_crop(picture: np.ndarray, side: int, zoom: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """A side x side crop after scaling the short side to a random multiple (zoom) of `side`, mirrored half the time."""
    factor = side * random.uniform(*zoom) / min(picture.shape[:2])
    size = (max(side, round(picture.shape[1] * factor)), max(side, round(picture.shape[0] * factor)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    row = random.integers(scaled.shape[0] - side + 1)
    column = random.integers(scaled.shape[1] - side + 1)
    crop = scaled[row : row + side, column : column + side]
    return crop[:, ::-1] if random.random() < 0.5 else crop


def to_tensor(pictures: list[np.ndarray]) -> Tensor:
    """RGB uint8 pictures of one size -> float32 (B, 3, H, W) in [-1, 1]."""
    batch = torch.from_numpy(np.ascontiguousarray(np.stack(pictures)))
    return batch.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_picture(tensor: Tensor) -> np.ndarray:
    """Float (3, H, W) in [-1, 1] -> RGB uint8 (H, W, 3)."""
    scaled = (tensor.detach().float() * 127.5 + 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


class PhotoFolder:
    """Photographs drawn at random; unreadable files are skipped and counted in `unreadable`."""

    def __init__(self, folder: Path) -> None:
        self.paths = list_pictures(folder)
        self.unreadable = 0

    def draw(self, side: int, random: np.random.Generator) -> np.ndarray:
        """One random crop (side, side, 3); raises UserError when no file of the folder can be read."""
        return random_crop(self._draw_picture(random), side, ZOOM, random)

    def draw_at_any_scale(self, side: int, random: np.random.Generator) -> np.ndarray:
        """The same at any scale between the whole picture and its own pixels; small scales as often as large ones."""
        picture = self._draw_picture(random)
        zoom = max(1.0, min(picture.shape[:2]) / side) ** random.uniform()
        return random_crop(picture, side, (zoom, zoom), random)

    def _draw_picture(self, random: np.random.Generator) -> np.ndarray:
        for _ in range(len(self.paths)):
            picture = read_picture(self.paths[random.integers(len(self.paths))])
            if picture is not None:
                return picture
            self.unreadable += 1
        raise UserError(f"none of the {len(self.paths)} pictures beside {self.paths[0]} can be read: check the files")


@dataclass(frozen=True)
class StylePicture:
    """One picture that gives a style. artist and work come from the folder's index.csv, empty without one.

    channels: the order that its colours are taken in; corner: rows and columns, from 0 to 1 of what there is, at which
    a part of the picture begins that is the style alone; None: the whole picture.
    """

    name: str
    path: Path
    artist: str = ""
    work: str = ""
    channels: tuple[int, int, int] = (0, 1, 2)
    corner: tuple[float, float] | None = None

    def read(self) -> np.ndarray:
        """RGB uint8 picture; raises UserError when it cannot be read."""
        picture = read_picture(self.path)
        if picture is None:
            raise UserError(f"style picture {self.path} cannot be read: replace it or leave it out")
        if self.corner is not None:
            height, width = (round(PART * side) for side in picture.shape[:2])
            row, column = (
                round(at * (1 - PART) * side) for at, side in zip(self.corner, picture.shape[:2], strict=True)
            )
            picture = picture[row : row + height, column : column + width]
        return np.ascontiguousarray(picture[:, :, self.channels])

    def parts(self) -> list[StylePicture]:
        """Four overlapping parts of the picture, from its corners: nearer views, other colours."""
        corners = [(row, column) for row in (0.0, 1.0) for column in (0.0, 1.0)]
        return [replace(self, name=f"{self.name}_part_{i}", corner=at) for i, at in enumerate(corners, 1)]

    def other_palettes(self, count: int) -> list[StylePicture]:
        """The picture with its colours in `count` other orders, at most 5."""
        orders = [(r, g, b) for r, g, b in permutations(self.channels)][1 : count + 1]
        return [replace(self, name=f"{self.name}_{index}", channels=order) for index, order in enumerate(orders, 1)]


def list_styles(folder: Path) -> list[StylePicture]:
    """Styles of a folder; an optional index.csv (columns file, artist, work) tells their origin."""
    index = folder / "index.csv"
    origins: dict[str, dict[str, str]] = {}
    if index.is_file():
        with index.open(encoding="utf-8", newline="") as stream:
            origins = {row["file"]: row for row in csv.DictReader(stream)}
    return [
        StylePicture(path.stem, path, origins.get(path.name, {}).get("artist", ""),
                     origins.get(path.name, {}).get("work", ""))
        for path in list_pictures(folder)
    ]  # fmt: skip


def chosen_styles(folder: Path, names: Sequence[str] | None) -> list[StylePicture]:
    """Styles of a folder in the order of `names`, or all; raises UserError for a name that is not there."""
    by_name = {style.name: style for style in list_styles(folder)}
    unknown = [name for name in names or () if name not in by_name]
    if unknown:
        raise UserError(f"no style picture {unknown[0]} in {folder}: name files of that folder without suffix")
    return [by_name[name] for name in names or by_name]
