# SPDX-License-Identifier: Apache-2.0
"""Boxes from YOLOX (Ge et al., 2021) and others that say objectness, centre and size at every location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from muon_ad_core.detect.decoders.base import Candidates, Decoder, best_pairs, check_shape, grid_locations, output


@dataclass(frozen=True)
class YoloxSettings:
    """Settings of YOLOX's family.

    Attributes:
        output: its name; rows (1, L, 4 + objectness + classes) of centre and size, objectness, class probabilities.
        decoded: the graph itself computes centre and size in pixels (YOLOX's export with --decode_in_inference).
        objectness: whether there is one; the score is objectness times class probability.
    """

    output: str = "output"
    decoded: bool = False
    objectness: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.decoded, bool) or not isinstance(self.objectness, bool):
            raise ValueError("decoded and objectness must be true or false")


class YoloxDecoder(Decoder):
    """Centre (v + cell) * stride, size exp(v) * stride."""

    settings_type = YoloxSettings

    def prepare(self, rows: int, columns: int) -> None:
        self._corners, self._spacing = grid_locations(rows, columns, self.strides, cell_offset=0.0)

    def decode(
        self, outputs: Mapping[str, np.ndarray], score_threshold: float, allowed: np.ndarray | None = None
    ) -> Candidates:
        rows = output(outputs, self.settings.output, axes=2)
        first_class = 5 if self.settings.objectness else 4
        check_shape(self.settings.output, rows.shape, (len(self._corners), first_class + self.classes))
        if self.settings.objectness:
            # Class probabilities are at most 1, so that objectness alone decides for most locations.
            location = np.flatnonzero(rows[:, 4] > score_threshold)
            scores = rows[location, 4:5] * rows[location, first_class:]
        else:
            location = np.arange(len(rows))
            scores = rows[:, first_class:]
        found, labels, values = best_pairs(scores, score_threshold, allowed)
        location = location[found]
        centre, size = rows[location, :2], rows[location, 2:4]
        if not self.settings.decoded:
            spacing = self._spacing[location, None]
            centre = centre * spacing + self._corners[location]
            size = np.exp(size) * spacing
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
        return Candidates(boxes, values.astype(np.float32), labels)
