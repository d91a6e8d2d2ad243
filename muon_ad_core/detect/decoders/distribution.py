# SPDX-License-Identifier: Apache-2.0
"""Boxes from distributions over distances: this project's detector, NanoDet and NanoDet-Plus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from muon_ad_core.detect.decoders.base import Candidates, Decoder, best_pairs, check_shape, grid_locations, output
from muon_ad_core.detect.settings import check_choice, check_numbers

LOGITS, PROBABILITIES = "logits", "probabilities"


@dataclass(frozen=True)
class DistributionSettings:
    """Settings of NanoDet's family.

    Attributes:
        outputs: one name: rows of class scores and then distances; or names of scores and distances in turn, a pair in
            all or a pair for each stride, finest first. Scores are (1, L, classes), distances (1, L, 4 * bins).
        scores: whether scores are logits or probabilities.
        cell_offset: where in its cell a location's point lies, 0.5 in the middle (NanoDet-Plus: 0).
    """

    outputs: tuple[str, ...] = ("scores", "bins")
    scores: str = LOGITS
    cell_offset: float = 0.5

    def __post_init__(self) -> None:
        check_choice("scores", self.scores, (LOGITS, PROBABILITIES))
        check_numbers("cell_offset", (self.cell_offset,))
        if isinstance(self.outputs, str) or not self.outputs or (len(self.outputs) > 1 and len(self.outputs) % 2):
            raise ValueError(f"outputs must be one name, or names of scores and distances in turn, not {self.outputs}")


class DistributionDecoder(Decoder):
    """A side's distance is the expectation of its softmax over the bins, in strides (Li et al., "Generalized Focal
    Loss", 2020). Only the distributions of locations with a good score are computed."""

    settings_type = DistributionSettings

    def prepare(self, rows: int, columns: int) -> None:
        self._points, self._spacing = grid_locations(rows, columns, self.strides, self.settings.cell_offset)

    def decode(
        self, outputs: Mapping[str, np.ndarray], score_threshold: float, allowed: np.ndarray | None = None
    ) -> Candidates:
        scores, distances = self._read(outputs)
        logits = self.settings.scores == LOGITS
        threshold = np.log(score_threshold / (1 - score_threshold)) if logits else score_threshold
        location, labels, values = best_pairs(scores, threshold, allowed)
        bins = distances[location].reshape(len(location), 4, distances.shape[1] // 4)
        weights = np.exp(bins - bins.max(axis=2, keepdims=True, initial=-np.inf))
        sides = weights @ np.arange(bins.shape[2], dtype=np.float32) / weights.sum(axis=2)
        sides *= self._spacing[location, None]
        point = self._points[location]
        boxes = np.concatenate([point - sides[:, :2], point + sides[:, 2:]], axis=1).astype(np.float32)
        if logits:
            values = 1 / (1 + np.exp(-values))
        return Candidates(boxes, values.astype(np.float32), labels)

    def _read(self, outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (L, classes) and distances (L, 4 * bins) of all locations."""
        names = self.settings.outputs
        parts = [output(outputs, name, axes=2) for name in names]
        if len(parts) == 1:
            scores, distances = parts[0][:, : self.classes], parts[0][:, self.classes :]
        elif len(parts) == 2:
            scores, distances = parts
        else:
            scores, distances = np.concatenate(parts[0::2]), np.concatenate(parts[1::2])
        check_shape(names[0], scores.shape, (len(self._points), self.classes))
        bins = max(1, distances.shape[1] // 4)
        check_shape(names[-1], distances.shape, (len(self._points), 4 * bins))
        return scores, distances
