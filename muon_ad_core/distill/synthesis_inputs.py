# SPDX-License-Identifier: Apache-2.0
"""Pictures and masks of a synthesis, and the sizes at which it works."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muon_ad_core.distill.attention_objective import Regions
from muon_ad_core.distill.picture_files import read_labels, read_rgb
from muon_ad_core.distill.pictures import to_tensor
from muon_ad_core.distill.synthesis_settings import SynthesisSettings
from muon_ad_core.distill.teachers.base import Teacher
from muon_ad_core.errors import ParameterError

SMALLEST_STAGE = 80
"""Longer side below which a coarser stage tells nothing about strokes."""
SHARE_OF_NEXT = 1.25
"""A stage has that many times the steps of the next one, which is dearer."""


@dataclass(frozen=True)
class Stage:
    """One size of the work, in pixels, and its steps."""

    height: int
    width: int
    steps: int


@dataclass(frozen=True)
class SynthesisInputs:
    """Pictures (H, W, 3) RGB uint8 and label maps (H, W); `height` and `width` are the result's.

    labels, style_labels: None or empty where there are no regions.
    """

    styles: tuple[NDArray[np.uint8], ...]
    content: NDArray[np.uint8] | None
    height: int
    width: int
    labels: NDArray[np.uint8] | None = None
    style_labels: tuple[NDArray[np.uint8], ...] = ()

    @classmethod
    def read(
        cls,
        styles: Sequence[str | Path],
        content: str | Path | None,
        settings: SynthesisSettings,
        mask: str | Path | None = None,
        style_masks: Sequence[str | Path] = (),
    ) -> SynthesisInputs:
        """Read the files. `mask`: regions of the result; `style_masks`: one for each style picture, labels of the same
        grey; without them the regions, from dark to light, get the style pictures in their order.

        Raises UserError for files that cannot be used or do not go together.
        """
        if not styles:
            raise ParameterError("name at least one style picture")
        pictures = tuple(read_rgb(Path(path)) for path in styles)
        photograph = None if content is None else read_rgb(Path(content))
        height, width = _result_size(photograph, settings.size)
        labels = None if mask is None else read_labels(Path(mask))
        maps = tuple(read_labels(Path(path)) for path in style_masks)
        if labels is not None:
            labels, maps = _match_regions(labels, maps, pictures)
        elif maps:
            raise ParameterError("masks of styles need a mask of the result, too")
        return cls(pictures, photograph, height, width, labels, maps)

    @property
    def fingerprint(self) -> str:
        """Hash of all pixels and sizes."""
        digest = hashlib.sha256(f"{self.height} {self.width}".encode())
        for array in (*self.styles, self.content, self.labels, *self.style_labels):
            digest.update(b"none" if array is None else str(array.shape).encode() + array.tobytes())
        return digest.hexdigest()

    def at(
        self, stage: Stage, settings: SynthesisSettings, teacher: Teacher
    ) -> tuple[list[Tensor], Tensor | None, Regions | None]:
        """Style pictures, content and regions at a stage's size, as the objective wants them."""
        longer = settings.style_scale * max(stage.height, stage.width)
        sizes = [_fitted(style, longer, teacher.stride) for style in self.styles]
        styles = [to_tensor([_resized(style, size)]) for style, size in zip(self.styles, sizes)]
        content = None if self.content is None else to_tensor([self._framed(self.content, stage, settings, teacher)])
        if self.labels is None:
            return styles, content, None
        shown = self._framed(self.labels, stage, settings, teacher)
        maps = [cv2.resize(m, size[::-1], interpolation=cv2.INTER_NEAREST) for m, size in zip(self.style_labels, sizes)]
        return styles, content, Regions(torch.from_numpy(shown), tuple(map(torch.from_numpy, maps)))

    def trim(self, picture: NDArray[np.uint8], last: bool) -> NDArray[np.uint8]:
        """The result without the margin that fills the last cells; earlier stages are shown as they are."""
        return np.ascontiguousarray(picture[: self.height, : self.width]) if last else picture

    def _framed(self, array: Any, stage: Stage, settings: SynthesisSettings, teacher: Teacher) -> Any:
        """A picture or label map that covers the result, scaled to it, its margin mirrored, scaled to the stage."""
        how = cv2.INTER_NEAREST if array.ndim == 2 else None
        full = _work_size(self.height, self.width, settings, teacher)
        size = full if settings.objective.tile else (self.height, self.width)
        scaled = _resized(array, size, how)
        below, right = full[0] - scaled.shape[0], full[1] - scaled.shape[1]
        framed = cv2.copyMakeBorder(scaled, 0, below, 0, right, cv2.BORDER_REFLECT)
        return _resized(framed, (stage.height, stage.width), how)


def plan_stages(settings: SynthesisSettings, inputs: SynthesisInputs, teacher: Teacher) -> list[Stage]:
    """Sizes from coarse to full, each about half the next, and how many of the steps each gets."""
    height, width = _work_size(inputs.height, inputs.width, settings, teacher)
    sizes = [(height, width)]
    while settings.objective.target == "pyramid" and len(sizes) != settings.stages:
        height, width = (max(2, round(side / 2 / teacher.stride)) * teacher.stride for side in sizes[0])
        if max(height, width) < SMALLEST_STAGE or (height, width) == sizes[0] or len(sizes) == settings.steps:
            break
        sizes.insert(0, (height, width))
    weights = [SHARE_OF_NEXT**index for index in reversed(range(len(sizes)))]
    steps = [max(1, int(settings.steps * weight / sum(weights))) for weight in weights]
    steps[0] += settings.steps - sum(steps)
    return [Stage(*size, count) for size, count in zip(sizes, steps)]


def _work_size(height: int, width: int, settings: SynthesisSettings, teacher: Teacher) -> tuple[int, int]:
    """The result's size in whole cells: rounded up, or to the nearest where it tiles and no margin can be cut off."""
    cells = ((side / teacher.stride) for side in (height, width))
    if settings.objective.tile:
        return tuple(max(2, round(count)) * teacher.stride for count in cells)  # type: ignore[return-value]
    return tuple(max(2, int(np.ceil(count))) * teacher.stride for count in cells)  # type: ignore[return-value]


def _result_size(content: NDArray[np.uint8] | None, longer: int) -> tuple[int, int]:
    if content is None:
        return longer, longer
    height, width = content.shape[:2]
    factor = longer / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def _fitted(picture: NDArray[np.uint8], longer: float, stride: int) -> tuple[int, int]:
    """Size of a style picture in whole cells, its longer side about `longer`."""
    factor = longer / max(picture.shape[:2])
    height, width = (max(2, round(side * factor / stride)) * stride for side in picture.shape[:2])
    return height, width


def _resized(picture: Any, size: tuple[int, int], how: int | None = None) -> Any:
    """Scaled to (height, width), by area where it shrinks."""
    if picture.shape[:2] == size:
        return picture
    shrinks = picture.shape[0] * picture.shape[1] > size[0] * size[1]
    chosen = how if how is not None else cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(picture, size[::-1], interpolation=chosen)


def _match_regions(
    labels: NDArray[np.uint8], maps: tuple[NDArray[np.uint8], ...], styles: tuple[NDArray[np.uint8], ...]
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.uint8], ...]]:
    """Label maps that go together; raises ParameterError when they cannot."""
    found = np.unique(labels)
    if maps:
        if len(maps) != len(styles):
            raise ParameterError(f"give a mask for each of the {len(styles)} style pictures, not {len(maps)}")
        known = np.unique(np.concatenate([np.unique(map_) for map_ in maps]))
        missing = [str(label) for label in found if label not in known]
        if missing:
            raise ParameterError(f"no style mask has the grey level {missing[0]} that the mask of the result has")
        return labels, maps
    if len(found) != len(styles):
        raise ParameterError(
            f"the mask has {len(found)} regions for {len(styles)} style pictures: give as many, or masks of the styles"
        )
    numbers = np.searchsorted(found, labels).astype(np.uint8)
    return numbers, tuple(np.full(style.shape[:2], number, np.uint8) for number, style in enumerate(styles))
