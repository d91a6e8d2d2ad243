# SPDX-License-Identifier: Apache-2.0
"""A lapped orthogonal transform of pictures: overlapping 16-pixel basis functions on a grid of 8, exactly invertible.

Orthogonal mixing across block borders, then a block DCT (Tran, Liang and Tu, 2003: time-domain lapped transforms). As
white noise stays white and basis functions end softly, a denoising network can work on the coefficients without
printing block borders.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muon_ad_core.nets.cosines import OPPONENT_COLOURS, cosine_matrix
from muon_ad_core.nets.student import pack_pixels, unpack_pixels


class LappedTransform(nn.Module):
    """Pictures (B, 3, H, W) <-> coefficients (B, 3 * block^2, H / block, W / block); its matrices are orthogonal.

    H and W must be multiples of `block`. Colours become one brightness and two opponent channels.
    """

    border: Tensor
    basis: Tensor

    def __init__(self, block: int = 8) -> None:
        super().__init__()
        self.block = block
        cosine = cosine_matrix(block)
        colours = torch.tensor(OPPONENT_COLOURS, dtype=torch.float64)
        colours = colours / colours.norm(dim=1, keepdim=True)
        # Rows are ordered (vertical, horizontal frequency, colour), columns as pack_pixels orders pixels.
        basis = torch.kron(torch.kron(cosine, cosine), colours)
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("border", _border_mixing(block).float(), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """Coefficients of pictures."""
        mixed = _mix_columns(_mix_columns(picture, self.border, self.block).mT, self.border, self.block).mT
        return F.conv2d(pack_pixels(mixed, self.block), self.basis[:, :, None, None])

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Pictures of coefficients."""
        mixed = unpack_pixels(F.conv2d(coefficients, self.basis.T[:, :, None, None]), self.block)
        return _mix_columns(_mix_columns(mixed, self.border.T, self.block).mT, self.border.T, self.block).mT


def _border_mixing(block: int) -> Tensor:
    """Orthogonal (block, block) matrix for the samples around a block border, half a block on each side."""
    half = block // 2
    same, flip = torch.eye(half, dtype=torch.float64), torch.eye(half, dtype=torch.float64).flip(0)
    butterfly = torch.cat([torch.cat([same, flip], 1), torch.cat([flip, -same], 1)]) / math.sqrt(2)
    index = torch.arange(half, dtype=torch.float64)
    cosine_4 = torch.cos(math.pi / half * (index[None] + 0.5) * (index[:, None] + 0.5)) * math.sqrt(2 / half)
    turn = flip @ cosine_matrix(half).T @ cosine_4 @ flip
    return butterfly @ torch.block_diag(same, turn) @ butterfly


def _mix_columns(picture: Tensor, matrix: Tensor, block: int) -> Tensor:
    """Mix the samples of every row around each inner block border; the picture's own border stays as it is."""
    half = block // 2
    if picture.shape[-1] == block:
        return picture
    inner = picture[..., half:-half]
    mixed = inner.unflatten(-1, (-1, block)) @ matrix.T
    return torch.cat([picture[..., :half], mixed.flatten(-2), picture[..., -half:]], dim=-1)
