# SPDX-License-Identifier: Apache-2.0
"""COCO-format training sets for the detector: a picture cache with unreadable ones counted, and augmentation.

A file's `categories` are the classes its annotators looked for: a picture of it says nothing about the others, and
their loss is masked there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from muon_ad_core.distill.coco_file import AnnotatedPicture, read_coco_file
from muon_ad_core.errors import UserError


@dataclass
class Sample:
    """One annotated picture: boxes (N, 4) x1 y1 x2 y2 in pixels of the file, labels (N,), scores (N,), crowd (M, 4)."""

    file: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    crowd: np.ndarray


@dataclass
class CocoSet:
    """One annotation file: its pictures, which of the classes it labels, and the faults found, by cause."""

    samples: list[Sample]
    labelled: np.ndarray
    faults: Counter[str] = field(default_factory=Counter)


def read_coco(file: Path, classes: Sequence[str], folder: Path | None = None) -> CocoSet:
    """The training set of a COCO file; arguments, counted faults and errors are those of read_coco_file."""
    coco = read_coco_file(file, classes, folder)
    return CocoSet([_sample(picture) for picture in coco.pictures], coco.labelled, coco.faults)


def _sample(picture: AnnotatedPicture) -> Sample:
    objects = [box for box in picture.boxes if not box.crowd]
    return Sample(
        picture.file,
        picture.width,
        picture.height,
        np.array([box.corners for box in objects], np.float32).reshape(-1, 4),
        np.array([box.label for box in objects], np.int64),
        np.array([box.score for box in objects], np.float32),
        np.array([box.corners for box in picture.boxes if box.crowd], np.float32).reshape(-1, 4),
    )


class PictureCache:
    """The pictures of a CocoSet in memory, RGB uint8, longest side at most `longest`, boxes scaled alike.

    Pictures that cannot be decoded are left out and counted in the set's faults ("unreadable picture"). Raises
    UserError when none is readable.
    """

    def __init__(self, coco: CocoSet, longest: int) -> None:
        self.labelled = coco.labelled
        self.pictures: list[np.ndarray] = []
        self.samples: list[Sample] = []
        for sample in coco.samples:
            picture = cv2.imread(str(sample.file), cv2.IMREAD_COLOR)
            if picture is None:
                coco.faults["unreadable picture"] += 1
                continue
            height, width = picture.shape[:2]
            scale = min(1.0, longest / max(height, width))
            if scale < 1:
                picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self.pictures.append(np.ascontiguousarray(picture[:, :, ::-1]))
            # Annotations may belong to another size of the same picture.
            unit_x, unit_y = picture.shape[1] / (sample.width or width), picture.shape[0] / (sample.height or height)
            unit = np.array([unit_x, unit_y, unit_x, unit_y])
            self.samples.append(
                Sample(
                    sample.file,
                    picture.shape[1],
                    picture.shape[0],
                    (sample.boxes * unit).astype(np.float32),
                    sample.labels,
                    sample.scores,
                    (sample.crowd * unit).astype(np.float32),
                )
            )
        if not self.pictures:
            raise UserError(f"no readable picture among {len(coco.samples)}: check the picture folder of the data set.")

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass
class View:
    """An augmented training input: picture (size, size, 3) uint8 RGB and its boxes in the picture's pixels."""

    picture: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    crowd: np.ndarray
    labelled: np.ndarray


Region = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of a view."""
Tile = tuple[int, float, float, tuple[float, float], Region]
"""Picture index, x scale, y scale, the scaled picture's corner in the view, and the region it may fill."""


class Augmenter:
    """Draws augmented views from a cache: zoom, shift, mirror, colour, and mosaics of four pictures of one set."""

    def __init__(self, size: int, mosaic: float = 0.5) -> None:
        self.size = size
        self.mosaic = mosaic

    def view(self, cache: PictureCache, index: int, rng: np.random.Generator) -> View:
        """A view of picture `index`, mirrored half of the time, its colours shifted."""
        view = self.geometry(cache, index, rng)
        if rng.random() < 0.5:
            view.picture = view.picture[:, ::-1]
            for boxes in (view.boxes, view.crowd):
                boxes[:, [0, 2]] = self.size - boxes[:, [2, 0]]
        view.picture = jitter_colour(view.picture, rng)
        return view

    def geometry(self, cache: PictureCache, index: int, rng: np.random.Generator) -> View:
        """Zoom, shift and mosaic alone: neither mirrored nor recoloured."""
        draw = self._mosaic if rng.random() < self.mosaic else self._single
        return draw(cache, index, rng)

    def _single(self, cache: PictureCache, index: int, rng: np.random.Generator) -> View:
        sample = cache.samples[index]
        scale = self.size / max(sample.width, sample.height) * rng.uniform(0.6, 1.5)
        stretch = np.exp(rng.uniform(-0.15, 0.15))
        slack_x = self.size - sample.width * scale * stretch
        slack_y = self.size - sample.height * scale / stretch
        corner = (rng.random() * slack_x, rng.random() * slack_y)
        canvas = np.zeros((self.size, self.size, 3), np.uint8)
        region = (0, 0, self.size, self.size)
        return self._paste(cache, [(index, scale * stretch, scale / stretch, corner, region)], canvas)

    def _mosaic(self, cache: PictureCache, index: int, rng: np.random.Generator) -> View:
        size = self.size
        middle_x, middle_y = (int(share * size) for share in rng.uniform(0.3, 0.7, 2))
        regions: list[Region] = [
            (0, 0, middle_x, middle_y),
            (middle_x, 0, size, middle_y),
            (0, middle_y, middle_x, size),
            (middle_x, middle_y, size, size),
        ]
        members = [index, *rng.integers(0, len(cache), 3)]
        tiles: list[Tile] = []
        for member, region in zip(members, regions):
            sample = cache.samples[member]
            scale = size / max(sample.width, sample.height) * rng.uniform(0.4, 1.0)
            left, top, right, bottom = region
            corner = (
                left + rng.random() * (right - left - sample.width * scale),
                top + rng.random() * (bottom - top - sample.height * scale),
            )
            tiles.append((int(member), scale, scale, corner, region))
        return self._paste(cache, tiles, np.zeros((size, size, 3), np.uint8))

    def _paste(self, cache: PictureCache, tiles: Sequence[Tile], canvas: np.ndarray) -> View:
        """Draw each tile inside its region, gather the boxes that stay visible."""
        boxes, labels, scores, crowd = [], [], [], []
        for index, scale_x, scale_y, (x, y), (left, top, right, bottom) in tiles:
            sample = cache.samples[index]
            matrix = np.array([[scale_x, 0, x - left], [0, scale_y, y - top]], np.float64)
            canvas[top:bottom, left:right] = cv2.warpAffine(
                cache.pictures[index], matrix, (int(right - left), int(bottom - top)), flags=cv2.INTER_LINEAR
            )
            scale = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
            whole = sample.boxes * scale + np.array([x, y, x, y], np.float32)
            clipped, visible = _clip(whole, (left, top, right, bottom))
            boxes.append(clipped[visible])
            labels.append(sample.labels[visible])
            scores.append(sample.scores[visible])
            crowds = sample.crowd * scale + np.array([x, y, x, y], np.float32)
            crowd.append(_clip(crowds, (left, top, right, bottom))[0])
        return View(
            canvas, np.concatenate(boxes), np.concatenate(labels), np.concatenate(scores), np.concatenate(crowd),
            cache.labelled,
        )  # fmt: skip


def _clip(boxes: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Boxes clipped to a region, and which keep a quarter of their area and three pixels a side."""
    left, top, right, bottom = region
    clipped = boxes.copy()
    clipped[:, 0::2] = clipped[:, 0::2].clip(left, right)
    clipped[:, 1::2] = clipped[:, 1::2].clip(top, bottom)
    sides = clipped[:, 2:] - clipped[:, :2]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    visible = (np.prod(sides, axis=1) > 0.25 * area) & (sides.min(axis=1, initial=np.inf) >= 3)
    return clipped, visible


def jitter_colour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gain, offset and saturation; now and then grey."""
    gain, offset = rng.uniform(0.65, 1.35), rng.uniform(-25, 25)
    saturation = 0.0 if rng.random() < 0.05 else rng.uniform(0.5, 1.5)
    hue_gains = rng.uniform(0.92, 1.08, 3)
    # One 3x3 colour matrix: luma plus scaled chroma, then a gain a channel.
    luma = np.array([[0.299, 0.587, 0.114]] * 3)
    matrix = gain * hue_gains[:, None] * (saturation * np.eye(3) + (1 - saturation) * luma)
    return cv2.transform(np.ascontiguousarray(picture), np.c_[matrix, np.full(3, offset)])
