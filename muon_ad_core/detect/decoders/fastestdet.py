# SPDX-License-Identifier: Apache-2.0
"""Boxes from FastestDet (github.com/dog-qiuqiu/FastestDet): one map, one box and one class a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from muon_ad_core.detect.decoders.base import Candidates, Decoder, best_pairs, check_shape, output


@dataclass(frozen=True)
class FastestDetSettings:
    """Settings of FastestDet.

    Attributes:
        output: its name; (1, 5 + classes, rows, columns): objectness, centre offset, size, class probabilities.
        objectness_power: the score is objectness^power * class^(1 - power).
    """

    output: str = "output"
    objectness_power: float = 0.6

    def __post_init__(self) -> None:
        if not isinstance(self.objectness_power, float) or not 0 < self.objectness_power < 1:
            raise ValueError(f"objectness_power must be between 0 and 1, not {self.objectness_power!r}")


class FastestDetDecoder(Decoder):
    """Centre (cell + tanh v) in cells, size sigmoid(v) of the whole input. There is one stride."""

    settings_type = FastestDetSettings

    def prepare(self, rows: int, columns: int) -> None:
        self._grid = rows // self.strides[0], columns // self.strides[0]
        self._input = np.array([columns, rows], np.float32)

    def decode(
        self, outputs: Mapping[str, np.ndarray], score_threshold: float, allowed: np.ndarray | None = None
    ) -> Candidates:
        maps = output(outputs, self.settings.output, axes=3)
        check_shape(self.settings.output, maps.shape, (5 + self.classes, *self._grid))
        cells = maps.reshape(len(maps), -1)
        power = self.settings.objectness_power
        # Class probabilities are at most 1, so that objectness alone decides for most cells.
        cell = np.flatnonzero(cells[0] > score_threshold ** (1 / power))
        values = cells[:, cell]
        scores = values[0] ** power * values[5:] ** (1 - power)
        scores[scores < scores.max(axis=0)] = 0.0  # a cell has one class
        found, labels, best = best_pairs(scores.T, score_threshold, allowed)
        cell, values = cell[found], values[:, found]
        row, column = np.divmod(cell, self._grid[1])
        centre = np.stack([column + np.tanh(values[1]), row + np.tanh(values[2])], axis=1) * self.strides[0]
        half = 1 / (1 + np.exp(-values[3:5].T)) * self._input / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Candidates(boxes, best.astype(np.float32), labels)
