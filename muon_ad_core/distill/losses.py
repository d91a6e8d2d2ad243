# SPDX-License-Identifier: Apache-2.0
"""Perceptual losses of the student: style moments, content structure, penalties of meshes, of lines and of flicker."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from muon_ad_core.metrics.mesh import FAINT, LONGEST_PERIOD, NOTHING, STEP, SURROUNDINGS, WINDOW

CELL, COARSE_FACTOR = 8, 16.0
"""Pixels along a cell whose mean colour must move with the scene, and how much that weighs beside single pixels."""

BORDER = 24
"""Rows and columns at each end that must look as the middle does where a frame is plain."""


@dataclass
class Moments:
    """Mean (B, C) and covariance (B, C, C) of features over their positions."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor, stride: int = 1) -> Moments:
    """Mean and covariance (float32) of features (B, C, H, W) over every stride-th row and column."""
    flat = features[:, :, ::stride, ::stride].permute(0, 2, 3, 1).flatten(1, 2)
    mean = flat.mean(dim=1, keepdim=True, dtype=torch.float32)
    # The covariance does not change with the mean to first order, so the mean used for centring needs no gradient;
    # products may then stay in the network's precision, which is most of the cost of this loss.
    centred = flat - mean.detach().to(flat.dtype)
    return Moments(mean[:, 0], (centred.mT @ centred).float() / flat.shape[1])


def moment_distance(found: Moments, target: Moments) -> Tensor:
    """Relative squared distance (B,) of mean and covariance; 0 when equal, 1 when `found` is all zero."""
    mean = (found.mean - target.mean).square().sum(1) / target.mean.square().sum(1).clamp(min=1e-8)
    covariance = (found.covariance - target.covariance).square().sum((1, 2))
    covariance = covariance / target.covariance.square().sum((1, 2)).clamp(min=1e-8)
    return (mean + covariance) / 2


def content_distance(found: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance (B,) of instance-normalised features (B, C, H, W): structure without palette."""
    return (_normalised(found) - _normalised(target)).square().mean(dim=(1, 2))


def direction_distance(found: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance (B,) of features (B, C, H, W) of length 1 along C: what is where, however strong; 0..4.

    That of LPIPS (Zhang et al., 2018) without its learned weights.
    """
    return (_unit(found) - _unit(target)).square().sum(dim=1).mean(dim=(1, 2))


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features * (features.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt()


def tone_distance(found: Tensor, target: Tensor, cell: int = 8) -> Tensor:
    """Mean squared distance (B,) of light and dark in pictures (B, 3, H, W): brightness of cells, normalised.

    0 for the same shading under any exposure, 2 for an unrelated one. Content features alone tell of edges: a network
    then paints reliefs.
    """
    return content_distance(_shading(found, cell), _shading(target, cell))


def _shading(picture: Tensor, cell: int) -> Tensor:
    return functional.avg_pool2d(picture.float().mean(dim=1, keepdim=True), cell)


def _normalised(features: Tensor) -> Tensor:
    flat = features.permute(0, 2, 3, 1).flatten(1, 2).float()
    variance, mean = torch.var_mean(flat, dim=1, keepdim=True, correction=0)
    return (flat - mean) * (variance + 1e-5).rsqrt()


def lattice_penalty(picture: Tensor, cell: int = 8, cells: int = 6) -> Tensor:
    """Variance (B,) of the mean cell over windows of cells x cells cells: what repeats from cell to cell.

    picture (B, C, H, W). A network that prints the same stroke into every cell has a large one, a photograph almost
    none. Windows that do not fit are left out.
    """
    batch, channels, height, width = picture.shape
    window = cell * cells
    rows, columns = height // window, width // window
    cut = picture.float()[:, :, : rows * window, : columns * window]
    cut = cut.reshape(batch, channels, rows, cells, cell, columns, cells, cell)
    template = cut.mean(dim=(3, 6))
    return (template - template.mean(dim=(3, 5), keepdim=True)).square().mean(dim=(1, 2, 3, 4, 5))


def mesh_penalty(picture: Tensor) -> Tensor:
    """How far single frequencies stand out of those around them, (B,): `metrics.mesh.mesh` with a gradient.

    picture (B, C, H, W), sides of at least 64. A network that draws strokes out of its input's grain by narrow filters
    weaves a mesh wherever the picture is flat; brushes have no favourite frequency.
    """
    cut = picture.float().unfold(2, WINDOW, STEP).unfold(3, WINDOW, STEP).flatten(2, 3)
    hann = torch.hann_window(WINDOW, periodic=False, device=picture.device)
    weights = hann[:, None] * hann
    half = torch.view_as_real(torch.fft.rfft2((cut - cut.mean(dim=(3, 4), keepdim=True)) * weights))
    power = _whole_plane((half * half).sum(dim=(1, 5))) / weights.square().sum() / WINDOW**2  # sums to the variance
    frequency = torch.fft.fftfreq(WINDOW, device=picture.device)
    counted = torch.hypot(frequency[:, None], frequency) > 1 / LONGEST_PERIOD
    variance = (power * counted).sum(dim=(2, 3), keepdim=True)
    usual = (power / (variance + FAINT)).mean(dim=1, keepdim=True)
    wide = functional.pad(usual, (SURROUNDINGS // 2,) * 4, "circular")
    surroundings = functional.avg_pool2d(wide, SURROUNDINGS, stride=1)
    excess = (usual - surroundings) / (surroundings + NOTHING)
    return excess[:, 0, counted].square().mean(dim=1)


def _whole_plane(half: Tensor) -> Tensor:
    """All frequencies (..., S, S) of a real picture's power from those that are not negative, (..., S, S / 2 + 1)."""
    mirrored = half[..., 1:-1].flip(-2, -1).roll(1, dims=-2)
    return torch.cat([half, mirrored], dim=-1)


def border_penalty(first: Tensor, second: Tensor) -> Tensor:
    """How far rows and columns along the border differ from the middle in what is painted of plain frames, (B,).

    first, second (B, C, H, W): the same plain frames under independent grain, sides of more than 2 BORDER. The product
    of both differences estimates the square of what strokes have in common there, without that of their chance.
    """
    lines = [(_border_lines(a), _border_lines(b)) for a, b in ((first, second), (first.mT, second.mT))]
    return torch.cat([a * b for a, b in lines], dim=2).mean(dim=(1, 2))


def _border_lines(pictures: Tensor) -> Tensor:
    """Means of the BORDER rows at either end less that of the rows between, (B, C, 2 BORDER)."""
    rows = pictures.float().mean(dim=3)
    middle = rows[:, :, BORDER:-BORDER].mean(dim=2, keepdim=True)
    return torch.cat([rows[:, :, :BORDER], rows[:, :, -BORDER:]], dim=2) - middle


def shift_difference(first: Tensor, second: Tensor, shift: tuple[int, int]) -> Tensor:
    """Mean squared difference (B,) of two outputs whose inputs differ by a shift of (rows, columns) pixels.

    first[y + rows, x + columns] is compared with second[y, x] where both exist: camera motion must move the strokes
    with the scene, not make them flicker. Differences of whole CELLs count COARSE_FACTOR times on top: those of a frame
    along the border, where a network can tell where it is.
    """
    rows, columns = shift
    height, width = first.shape[2:]
    a_rows, b_rows = _overlap(rows, height)
    a_columns, b_columns = _overlap(columns, width)
    difference = first[:, :, a_rows, a_columns].float() - second[:, :, b_rows, b_columns].float()
    coarse = functional.avg_pool2d(difference, min(CELL, *difference.shape[2:]))
    return difference.square().mean(dim=(1, 2, 3)) + COARSE_FACTOR * coarse.square().mean(dim=(1, 2, 3))


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Of the first and of the second output: what both show."""
    return slice(max(shift, 0), length + min(shift, 0)), slice(max(-shift, 0), length + min(-shift, 0))


def total_variation(picture: Tensor) -> Tensor:
    """Mean absolute difference (B,) of neighbouring pixels."""
    vertical = (picture[:, :, 1:] - picture[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    horizontal = (picture[:, :, :, 1:] - picture[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return (vertical + horizontal).float()
