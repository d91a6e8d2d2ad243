# SPDX-License-Identifier: Apache-2.0
"""A style's own patches as a loss: each patch of the picture is drawn to the one of the style that is most like it.

This is attention distillation in pixels. Queries are the patches of the picture, mixed with a share of the
photograph's; keys and values are patches of the style; attention is so sharp that one value is found. What overlapping
values agree on is the picture's target for the next steps (texture optimisation: Kwatra et al., 2005; style transfer
by it: Elad and Milanfar, 2017). Keys that nobody looked for are preferred (completeness: Granot et al., 2022), else
flat regions would all find the same flat patch, and no stroke. The teacher's attentions see normalised features of
tokens of several pixels: they cannot tell a stroke's edge and grain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.distill.pyramid import shrink

PATCH = 7
STRIDE = 3
"""Between patches that look for values; the grid begins elsewhere each time, so that it is not seen."""
SCALES = 2
EVERY = 8
"""Steps between two searches: the update rule needs some to come near what was found."""
KEYS = 9000
COMPONENTS = 48
"""Principal components of the style's patches, in which they are compared."""
COMPLETENESS = 0.0005
"""Squared distance of a pixel's colour, [-1, 1], below which a key counts as used; smaller is more complete."""
AGREEMENT = -2.0
"""Exponent of a found patch's weight over its squared distance: near ones decide where patches overlap."""
SMALLEST_DISTANCE = 1e-3
BEND = 0.1
"""Difference of colours, [-1, 1], at which the pull is twice that near 0."""
CHUNK = 1024


@dataclass(frozen=True)
class _Keys:
    """Patches (n, 3 PATCH^2) of a style at one scale and in one region, and their principal components (n, k)."""

    patches: Tensor
    components: Tensor
    basis: Tensor
    mean: Tensor


class PatchMatching:
    """Mean distance of a picture from what its patches find in the style pictures, over scales.

    styles: pictures (1, 3, H, W) in [-1, 1]; content: photograph of the picture's size, None for textures;
    content_share: of it in what is looked for, 0..1; labels: for each style the region of every pixel (H, W), None for
    one region; seed: of the grids and of the keys, which are drawn; tile: the picture's opposite borders belong
    together.
    """

    def __init__(
        self,
        styles: Sequence[Tensor],
        seed: int,
        content: Tensor | None = None,
        content_share: float = 0.0,
        labels: Sequence[Tensor] | None = None,
        tile: bool = False,
    ) -> None:
        self._styles, self._labels = list(styles), None if labels is None else list(labels)
        self._content, self._share = content, content_share if content is not None else 0.0
        self._seed, self._tile = seed, tile
        self._keys: list[dict[int, _Keys]] = []
        self._found: list[Tensor] = []
        self._found_at = 0

    def __call__(self, picture: Tensor, step: int, labels: Tensor | None = None) -> Tensor:
        """Distance of the picture (1, 3, H, W) at a step; labels (H, W) where it has regions.

        A region that no style has may find the patches of all.
        """
        if not self._found or not 0 <= step - self._found_at < EVERY:
            with torch.no_grad():
                self._search(picture.detach(), step, labels)
        pairs = zip(_scales(picture, len(self._found)), self._found, strict=True)
        return torch.stack([_distance(at_scale - found) for at_scale, found in pairs]).mean()

    def state_dict(self) -> dict[str, Any]:
        """What was found last, and when: a run that goes on does not search anew before its time."""
        return {"found": self._found, "found_at": self._found_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._found, self._found_at = list(state["found"]), state["found_at"]

    def _search(self, picture: Tensor, step: int, labels: Tensor | None) -> None:
        smallest = min(min(x.shape[2:]) for x in (picture, *self._styles))
        count = max(1, min(SCALES, (smallest // (PATCH + 1)).bit_length()))
        if len(self._keys) != count:
            self._keys = _style_keys(self._styles, self._labels, count, self._seed)
        asked = picture if self._content is None else torch.lerp(picture, self._content, self._share)
        self._found, self._found_at = [], step
        for scale, (at_scale, keys) in enumerate(zip(_scales(asked, count), self._keys, strict=True)):
            random = np.random.default_rng([self._seed, step, scale])
            origin = tuple(int(place) for place in random.integers(STRIDE, size=2))
            map_ = None if labels is None else labels[:: 2**scale, :: 2**scale]
            self._found.append(_vote(at_scale, keys, map_, origin, self._tile))


def _distance(difference: Tensor) -> Tensor:
    """Mean of |d| + d^2 / (2 BEND): as |d| near 0, steeper the farther, so that no pixel can be led away for long."""
    return (difference.abs() + difference.square() / (2 * BEND)).mean()


def _scales(picture: Tensor, count: int) -> list[Tensor]:
    """The picture, and each half the size of the one before."""
    found = [picture]
    while len(found) < count:
        found.append(shrink(found[-1]))
    return found


def _style_keys(
    styles: Sequence[Tensor], labels: Sequence[Tensor] | None, count: int, seed: int
) -> list[dict[int, _Keys]]:
    """Keys at every scale by region; region -1 has those of all."""
    found = []
    scaled = zip(*(_scales(style, count) for style in styles), strict=True)
    for scale, pictures in enumerate(scaled):
        patches = torch.cat([F.unfold(picture, PATCH)[0].T for picture in pictures])
        regions = {-1: _keys(patches, seed)}
        if labels is not None:
            margin = PATCH // 2
            maps = [map_[:: 2**scale, :: 2**scale][margin:-margin, margin:-margin].flatten() for map_ in labels]
            middles = torch.cat(maps)
            regions.update({int(label): _keys(patches[middles == label], seed) for label in middles.unique()})
        found.append(regions)
    return found


def _keys(patches: Tensor, seed: int) -> _Keys:
    generator = torch.Generator().manual_seed(seed)
    patches = patches[torch.randperm(len(patches), generator=generator)[:KEYS]]
    mean = patches.mean(dim=0)
    centred = patches - mean
    basis = torch.linalg.eigh(centred.T @ centred)[1][:, -COMPONENTS:]
    return _Keys(patches, centred @ basis, basis, mean)


def _vote(
    picture: Tensor, regions: dict[int, _Keys], labels: Tensor | None, origin: Sequence[int], tile: bool
) -> Tensor:
    """What the patches of a picture find, averaged where they overlap; a patch's middle counts most."""
    padded = F.pad(picture, (PATCH,) * 4, mode="circular" if tile else "reflect")
    padded = padded[:, :, origin[0] :, origin[1] :]
    patches = F.unfold(padded, PATCH, stride=STRIDE)[0].T
    values, weights = torch.empty_like(patches), patches.new_empty(len(patches), 1)
    for label, members in _members(labels, padded.shape[2:], origin).items():
        keys = regions.get(label, regions[-1])
        index, distance = _nearest((patches[members] - keys.mean) @ keys.basis, keys.components)
        values[members] = keys.patches[index]
        weights[members] = (distance[:, None] / patches.shape[1] + SMALLEST_DISTANCE) ** AGREEMENT
    weights = weights * _window()
    size = tuple(padded.shape[2:])
    weighted = (values.unflatten(1, (-1, PATCH**2)) * weights[:, None]).flatten(1)
    total = F.fold(weighted.T[None], size, PATCH, stride=STRIDE)
    weight = F.fold(weights.T[None], size, PATCH, stride=STRIDE)
    top, left = PATCH - origin[0], PATCH - origin[1]
    height, width = picture.shape[2:]
    return (total / weight.clamp(min=1e-9))[:, :, top : top + height, left : left + width]


def _window() -> Tensor:
    """Weight of every pixel of a patch, (PATCH^2,): falls softly to the border, or a weave of the grid shows."""
    line = torch.hann_window(PATCH + 2, periodic=False)[1:-1]
    return torch.outer(line, line).flatten()


def _members(labels: Tensor | None, size: Sequence[int], origin: Sequence[int]) -> dict[int, Tensor | slice]:
    """Indices of the patches of each region, by the pixel at their middle; all of them under -1 without regions."""
    if labels is None:
        return {-1: slice(None)}
    rows, columns = ((side - PATCH) // STRIDE + 1 for side in size)
    places = [
        (torch.arange(number) * STRIDE + begin + PATCH // 2 - PATCH).clamp(0, side - 1)
        for number, begin, side in zip((rows, columns), origin, labels.shape, strict=True)
    ]
    middles = labels[places[0]][:, places[1]].flatten()
    return {int(label): (middles == label).nonzero()[:, 0] for label in middles.unique()}


def _nearest(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the key that each query (n, k) finds, and their squared distance.

    All squared distances of a chunk are one matrix product: |q - k|^2 = (q, 1, |q|^2) . (-2 k, |k|^2, 1). What a key is
    preferred by goes into its factor.
    """
    ones = torch.ones_like
    query_squares, key_squares = (x.square().sum(dim=1, keepdim=True) for x in (queries, keys))
    chunks = torch.cat([queries, ones(query_squares), query_squares], dim=1).split(CHUNK)
    factor = torch.cat([-2 * keys, key_squares, ones(key_squares)], dim=1).T.contiguous()
    distances = queries.new_empty(len(chunks[0]), len(keys))
    used = factor.new_full((len(keys),), torch.inf)
    for chunk in chunks:
        torch.minimum(used, torch.mm(chunk, factor, out=distances[: len(chunk)]).amin(dim=0), out=used)
    factor /= used.clamp(min=0) + COMPLETENESS * 3 * PATCH**2
    index = torch.cat([torch.mm(chunk, factor, out=distances[: len(chunk)]).argmin(dim=1) for chunk in chunks])
    return index, (queries - keys[index]).square().sum(dim=1)
