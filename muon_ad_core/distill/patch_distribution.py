# SPDX-License-Identifier: Apache-2.0
"""Distribution of small patches as a loss: the strokes and the palette of a style, wherever they lie.

Sliced Wasserstein distance between the patches of pictures (Elnekave and Weiss, 2022, who generate and restyle pictures
by it alone). It tells which strokes there are, the teacher's attentions which of them belong where: those look at
normalised features, in which a picture's contrast, palette and grain hardly show.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.distill.pyramid import shrink

PATCH = 7
DIRECTIONS = 32
STRIDE = 2
"""Every second patch each way: pictures are moved between steps, so that all count in turn at a quarter of the cost."""
SETS = 4
"""Different sets of directions, one a step; the style's quantiles are kept for each."""
SCALES = 2
QUANTILES = 2048
SMALLEST_DEVIATION = 1e-3
ONE_REGION = 0


class PatchDistribution:
    """Distance of a picture's patches from those of style pictures, along random directions and over scales.

    styles: pictures (1, 3, H, W) in [-1, 1], sides at least PATCH * 2 ** (SCALES - 1) pixels; labels: for each of them
    the region of every pixel (H, W), None for one region; seed: of the directions. Half of the directions do not see a
    patch's mean colour, so that texture counts as much as palette.
    """

    def __init__(self, styles: Sequence[Tensor], seed: int, labels: Sequence[Tensor] | None = None) -> None:
        self._kernels = [_directions(seed * SETS + index) for index in range(SETS)]
        self._styles = list(styles)
        self._labels = None if labels is None else list(labels)
        self._wanted: dict[int, list[dict[int, Tensor]]] = {}

    def __call__(self, picture: Tensor, step: int, labels: Tensor | None = None) -> Tensor:
        """Mean distance in units of the style's deviation; picture (1, 3, H, W), labels (H, W) where it has regions.

        A region that no style has is compared with nothing.
        """
        kernel = self._kernels[step % SETS]
        found = _projections([picture], kernel, None if labels is None else [labels])
        distances = [
            _distance(_quantiles(values), target[label])
            for values_at, target in zip(found, self._style_quantiles(step % SETS), strict=True)
            for label, values in values_at.items()
            if label in target
        ]
        return torch.stack(distances).mean() if distances else picture.new_zeros(())

    def _style_quantiles(self, index: int) -> list[dict[int, Tensor]]:
        if index not in self._wanted:
            with torch.no_grad():
                found = _projections(self._styles, self._kernels[index], self._labels)
                self._wanted[index] = [{label: _quantiles(x) for label, x in scale.items()} for scale in found]
        return self._wanted[index]


def _directions(seed: int) -> Tensor:
    """Kernels (DIRECTIONS, 3, PATCH, PATCH) of length 1."""
    kernels = torch.randn(DIRECTIONS, 3, PATCH, PATCH, generator=torch.Generator().manual_seed(seed))
    kernels[DIRECTIONS // 2 :] -= kernels[DIRECTIONS // 2 :].mean(dim=(2, 3), keepdim=True)
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None, None]


def _projections(
    pictures: Sequence[Tensor], kernels: Tensor, labels: Sequence[Tensor] | None
) -> list[dict[int, Tensor]]:
    """At every scale and for every region: all patches of all pictures along the directions, (DIRECTIONS, count)."""
    found = []
    pictures = list(pictures)
    maps = None if labels is None else list(labels)
    for _ in range(SCALES):
        values = torch.cat([F.conv2d(picture, kernels, stride=STRIDE)[0].flatten(1) for picture in pictures], dim=1)
        if maps is None:
            found.append({ONE_REGION: values})
        else:
            margin = PATCH // 2
            middles = torch.cat([map_[margin:-margin:STRIDE, margin:-margin:STRIDE].flatten() for map_ in maps])
            found.append({int(label): values[:, middles == label] for label in middles.unique()})
            maps = [map_[::2, ::2] for map_ in maps]
        pictures = [shrink(picture) for picture in pictures]
    return found


def _quantiles(values: Tensor) -> Tensor:
    """QUANTILES quantiles of every row."""
    ordered = values.sort(dim=1)[0]
    return F.interpolate(ordered[None], QUANTILES, mode="linear", align_corners=True)[0]


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    return ((found - wanted).abs().mean(dim=1) / wanted.std(dim=1).clamp(min=SMALLEST_DEVIATION)).mean()
