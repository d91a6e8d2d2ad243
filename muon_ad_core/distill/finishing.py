# SPDX-License-Identifier: Apache-2.0
"""What `engine.finishing` does to painted pictures, so that a training sees what is shown, and gradients lead back."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.engine.finishing import CONTRAST_CELL, CONTRAST_KERNEL, Finish, gaussian_weights

SLOPE_OUTSIDE = 0.05


def finished(painted: Tensor, frames: Tensor, finish: Finish) -> Tensor:
    """Painted pictures of frames, both (B, 3, H, W) in about [-1, 1], as `Finisher` makes them, in float32.

    With local contrast, H and W must be multiples of 4.
    """
    if not finish.softness:
        return painted
    softened = _blurred(painted, 3, finish.softness)
    if not finish.keeps_detail:
        return softened
    share = finish.local_contrast
    without_detail = _blurred(frames, 3, finish.softness)
    if share:
        without_detail = (1 - share) * without_detail + share * _mean_around(frames)
    return soft_clamp(softened + frames - without_detail)


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
