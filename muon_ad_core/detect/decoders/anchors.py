# SPDX-License-Identifier: Apache-2.0
"""Boxes from Yolo-FastestV2 (github.com/dog-qiuqiu/Yolo-FastestV2): anchors of several sizes in every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from muon_ad_core.detect.decoders.base import Candidates, Decoder, best_pairs, check_shape, output
from muon_ad_core.detect.settings import check_numbers
from muon_ad_core.errors import EngineError


@dataclass(frozen=True)
class AnchorSettings:
    """Settings of Yolo-FastestV2.

    Attributes:
        outputs: one name a stride, finest first; (1, rows, columns, 5 * anchors + classes): boxes of all anchors,
            objectness of all anchors, class probabilities of the cell.
        anchors: widths and heights in pixels of the input: those of the finest stride first.
    """

    outputs: tuple[str, ...] = ()
    anchors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_numbers("anchors", self.anchors)
        if isinstance(self.outputs, str) or not self.outputs or len(self.anchors) % (2 * len(self.outputs)):
            raise ValueError("there must be one output a stride, and as many anchors, width and height, for each")


class AnchorDecoder(Decoder):
    """Centre (2 v - 0.5 + cell) * stride, size (2 v)^2 * anchor; the score is objectness times class probability."""

    settings_type = AnchorSettings

    def __init__(self, classes: int, strides: tuple[int, ...], settings: AnchorSettings) -> None:
        super().__init__(classes, strides, settings)
        if len(strides) != len(settings.outputs):
            raise EngineError(
                f"there are {len(settings.outputs)} outputs for {len(strides)} strides: mend the manifest"
            )

    def prepare(self, rows: int, columns: int) -> None:
        """Points of the cells' corners, strides and anchors of every box, in the order of the outputs."""
        names = self.settings.outputs
        self._anchors = np.array(self.settings.anchors, np.float32).reshape(len(names), -1, 2)
        self._grids = [(rows // stride, columns // stride) for stride in self.strides]
        corners, spacing, anchors = [], [], []
        for (high, wide), stride, sizes in zip(self._grids, self.strides, self._anchors):
            y, x, anchor = np.mgrid[:high, :wide, : len(sizes)]
            corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
            spacing.append(np.full((x.size, 1), stride))
            anchors.append(sizes[anchor.ravel()])
        self._corners = np.concatenate(corners).astype(np.float32)
        self._spacing = np.concatenate(spacing).astype(np.float32)
        self._sizes = np.concatenate(anchors)

    def decode(
        self, outputs: Mapping[str, np.ndarray], score_threshold: float, allowed: np.ndarray | None = None
    ) -> Candidates:
        count = self._anchors.shape[1]
        boxes, objectness, classes = [], [], []
        for name, grid in zip(self.settings.outputs, self._grids):
            cells = output(outputs, name, axes=3)
            check_shape(name, cells.shape, (*grid, 5 * count + self.classes))
            boxes.append(cells[..., : 4 * count].reshape(-1, 4))
            objectness.append(cells[..., 4 * count : 5 * count].reshape(-1))
            classes.append(np.repeat(cells[..., 5 * count :].reshape(-1, self.classes), count, axis=0))
        objects = np.concatenate(objectness)
        location = np.flatnonzero(objects > score_threshold)
        scores = objects[location, None] * np.concatenate(classes)[location]
        found, labels, values = best_pairs(scores, score_threshold, allowed)
        location = location[found]
        box = np.concatenate(boxes)[location]
        centre = (2 * box[:, :2] - 0.5 + self._corners[location]) * self._spacing[location]
        half = (2 * box[:, 2:]) ** 2 * self._sizes[location] / 2
        corners = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Candidates(corners, values.astype(np.float32), labels)
