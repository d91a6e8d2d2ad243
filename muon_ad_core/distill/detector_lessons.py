# SPDX-License-Identifier: Apache-2.0
"""What a detector learns from, batch by batch: boxes of COCO-format sets, or teachers' maps of whole views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from muon_ad_core.distill.detector_data import Augmenter, PictureCache, View
from muon_ad_core.distill.detector_loss import BoxTargets, detection_loss
from muon_ad_core.distill.detector_maps import FEATURE_WIDTH, MapSet, feature_loss, map_loss
from muon_ad_core.nets.detector import grid_locations

MOSAIC = 0.5  # share of mosaics among the views
LAST_WITHOUT_MOSAIC = 0.12  # of the run: ends on pictures like those the detector will see
REFRESH_STEPS = 500
FEATURE_WEIGHT = 2.0


class Batch(Protocol):
    """Pictures (B, 3, size, size) in 0..1, and the losses of what a network says about them."""

    @property
    def pixels(self) -> Tensor: ...

    def losses(self, outputs: Outputs) -> dict[str, Tensor]:
        """{"total", ...}: scalars; "total" is what is minimised."""
        ...


@dataclass(frozen=True)
class Outputs:
    """What a DetectorNet says in training, float32, of every location: class logits (B, L, classes), distance logits
    (B, L, 4 * bins), and the guess (B, L, feature width) at a teacher's features, None without a teacher."""

    class_logits: Tensor
    bin_logits: Tensor
    guess: Tensor | None = None


class Lesson(Protocol):
    """Draws batches; what is drawn follows from seed and step alone, so that a run can be resumed exactly."""

    feature_width: int
    """Channels of a teacher's features that the network is to guess, 0 for none."""
    description: str
    """How it teaches, for the model card."""

    def batch(self, seed: int, step: int, count: int, size: int, progress: float) -> Batch:
        """`count` pictures of about `size` pixels a side, at `progress` (0..1) of the run."""
        ...

    def photographs(self) -> list[np.ndarray]:
        """The training photographs, (H, W, 3) uint8 RGB: calibration takes its pictures from them."""
        ...


@dataclass(frozen=True)
class BoxBatch:
    """Views with boxes; a location's target depends on what the network says now (task-aligned assignment)."""

    pixels: Tensor
    targets: list[BoxTargets]

    def losses(self, outputs: Outputs) -> dict[str, Tensor]:
        centres, strides = grid_locations(*self.pixels.shape[2:])
        bins = outputs.bin_logits.shape[2] // 4
        return detection_loss(outputs.class_logits, outputs.bin_logits, self.targets, centres, strides, bins)


class BoxLesson:
    """Augmented views of annotated photographs; each picture of each set is seen equally often."""

    feature_width = 0
    description = (
        "Boxes: task-aligned assignment, quality focal loss, GIoU, distribution focal loss; mosaics, zoom, mirror, "
        "colour."
    )

    def __init__(self, caches: Sequence[PictureCache]) -> None:
        self._caches = caches
        self._members = [(cache, index) for cache in caches for index in range(len(cache))]

    def batch(self, seed: int, step: int, count: int, size: int, progress: float) -> BoxBatch:
        augmenter = Augmenter(size, MOSAIC if progress < 1 - LAST_WITHOUT_MOSAIC else 0.0)
        rng = np.random.default_rng((seed, step))
        views = []
        for position in range(step * count, (step + 1) * count):
            epoch, place = divmod(position, len(self._members))
            order = np.random.default_rng((seed, epoch, 1)).permutation(len(self._members))
            cache, index = self._members[order[place]]
            views.append(augmenter.view(cache, index, rng))
        return BoxBatch(_pixels([view.picture for view in views]), [_targets(view) for view in views])

    def photographs(self) -> list[np.ndarray]:
        return [picture for cache in self._caches for picture in cache.pictures]


@dataclass(frozen=True)
class MapBatch:
    """Views with teachers' scores (B, L, classes), distance probabilities (B, L, 4, bins), features (B, L, 96)."""

    pixels: Tensor
    scores: Tensor
    bins: Tensor
    features: Tensor

    def losses(self, outputs: Outputs) -> dict[str, Tensor]:
        assert outputs.guess is not None
        centres, strides = grid_locations(*self.pixels.shape[2:])
        losses = map_loss(outputs.class_logits, outputs.bin_logits, self.scores, self.bins, centres, strides)
        features = feature_loss(outputs.guess, self.features)
        return {**losses, "features": features, "total": losses["total"] + FEATURE_WEIGHT * features}


class MapLesson:
    """Stored views with teachers' maps. Maps may still be written while a training runs: they are read as they come."""

    feature_width = FEATURE_WIDTH
    description = (
        "Teachers' maps of whole views: cross-entropy to their scores, divergence from their distances, GIoU, "
        "correlation with their features; mosaics, zoom, mirror, colour."
    )

    def __init__(self, maps: MapSet) -> None:
        self._maps = maps

    def batch(self, seed: int, step: int, count: int, size: int, progress: float) -> MapBatch:
        if step % REFRESH_STEPS == 0:
            self._maps.refresh()
        views = self._maps.draw(size, count, np.random.default_rng((seed, step)))
        return MapBatch(
            _pixels([view.picture for view in views]),
            torch.from_numpy(np.stack([view.scores for view in views])),
            torch.from_numpy(np.stack([view.bins for view in views])),
            torch.from_numpy(np.stack([view.features for view in views])).float(),
        )

    def photographs(self) -> list[np.ndarray]:
        return self._maps.pictures()


def _pixels(pictures: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)


def _targets(view: View) -> BoxTargets:
    return BoxTargets(
        torch.from_numpy(view.boxes),
        torch.from_numpy(view.labels),
        torch.from_numpy(view.scores),
        torch.from_numpy(view.crowd),
        torch.from_numpy(view.labelled),
    )
