# SPDX-License-Identifier: Apache-2.0
"""What the runtime does to painted pictures, so that a training sees what is shown, and gradients lead back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.engine.finishing import CONTRAST_CELL, CONTRAST_KERNEL, Finish, gaussian_weights
from muon_ad_core.frame_buffers import FEW_PIXELS
from muon_ad_core.palette import Palette

SLOPE_OUTSIDE = 0.05
HALF_RANGE = 127.5


def finished(painted: Tensor, frames: Tensor, finish: Finish) -> Tensor:
    """Painted pictures (B, 3, h, w) of frames (B, 3, H, W), both in about [-1, 1], as `Finisher` makes them: (B, 3, H,
    W) float32.

    h and w: H and W, or those of frames that were `shrunk`. With local contrast, they must be multiples of 4.
    """
    size, share = frames.shape[2:], finish.local_contrast
    if not finish.softness:
        return _enlarged(painted, size)
    softened = _blurred(painted, 3, finish.softness)
    if not finish.keeps_detail:
        return _enlarged(softened, size)
    seen = shrunk(frames, painted.shape[2:])
    without_detail = _blurred(seen, 3, finish.softness)
    if share:
        without_detail = (1 - share) * without_detail + share * _mean_around(seen)
    return soft_clamp(frames + _enlarged(softened - without_detail, size))


def shrunk(frames: Tensor, size: Sequence[int]) -> Tensor:
    """Frames (B, 3, H, W) at the size (h, w) at which they are painted, as `FrameBuffers` shrinks them."""
    if frames.shape[2:] == tuple(size):
        return frames
    how = "bilinear" if frames.shape[2] / size[0] < FEW_PIXELS else "area"
    return F.interpolate(frames, tuple(size), mode=how)


def _enlarged(pictures: Tensor, size: Sequence[int]) -> Tensor:
    return (
        pictures if pictures.shape[2:] == tuple(size) else F.interpolate(pictures.float(), tuple(size), mode="bilinear")
    )


@torch.autocast("cpu", enabled=False)
def moved_colours(painted: Tensor, wanted: Sequence[Palette], share: float) -> Tensor:
    """Colours of pictures (V B, 3, H, W) in about [-1, 1], B of V views each, a share of the way to B palettes.

    The views of one picture follow one another at a distance of B, and are moved alike, as frames of a sequence are.
    Gradients take the maps (`palette.Palette.map_to`) as given.
    """
    maps = []
    for number, palette in enumerate(wanted):
        colours = painted.detach()[number :: len(wanted)].float().transpose(0, 1).flatten(1) * HALF_RANGE + HALF_RANGE
        found = Palette(colours.mean(dim=1).numpy(), torch.cov(colours, correction=0).numpy())
        maps.append(torch.from_numpy(found.map_to(palette, share)))
    map_ = torch.stack(maps).repeat(len(painted) // len(wanted), 1, 1)
    matrix, added = map_[:, :, :3], map_[:, :, 3] / HALF_RANGE + map_[:, :, :3].sum(dim=2) - 1
    return torch.einsum("bij,bjhw->bihw", matrix, painted.float()) + added[:, :, None, None]


def soft_clamp(painted: Tensor) -> Tensor:
    """Clamp to [-1, 1] as the runtime does, with a small slope outside so that gradients can lead back."""
    clamped = painted.clamp(-1, 1)
    return clamped + SLOPE_OUTSIDE * (painted - clamped)


def _mean_around(frames: Tensor) -> Tensor:
    cells = _blurred(F.avg_pool2d(frames.float(), CONTRAST_CELL), *CONTRAST_KERNEL)
    return F.interpolate(cells, scale_factor=float(CONTRAST_CELL), mode="bilinear")


def _blurred(pictures: Tensor, side: int, deviation: float) -> Tensor:
    weights = gaussian_weights(side, deviation)
    height, width = pictures.shape[2:]
    wide = F.pad(pictures.float(), (side // 2,) * 4, mode="reflect")
    rows = torch.zeros_like(wide[:, :, :height])
    for start, weight in enumerate(weights):
        rows = rows + weight * wide[:, :, start : start + height]
    blurred = torch.zeros_like(rows[..., :width])
    for start, weight in enumerate(weights):
        blurred = blurred + weight * rows[..., start : start + width]
    return blurred
