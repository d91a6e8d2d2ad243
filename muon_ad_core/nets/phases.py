# SPDX-License-Identifier: Apache-2.0
"""The same layers at half the resolution: 2x2 cells of pixels become channels, ordered as `pack_pixels` orders them.

Matrix units work on 64 channels at a time: layers of 16 or 32 channels at a high resolution leave most of them idle,
and upsampling writes a large picture only to read it again. Rewritten so, a layer computes exactly the same from more
channels at fewer places; where its kernel does not reach, the weights are zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor, nn

CELL = 2
"""Pixels along one side of a cell."""


def upsample_then_convolve(convolution: nn.Conv2d) -> nn.Conv2d:
    """Bilinear upsampling by 2 and a 3x3 convolution after it, as one 3x3 convolution of the small picture.

    Beyond its border the small picture goes on as it ends.

    (B, inputs, h, w) -> the packed result (B, 4 * outputs, h, w).
    """
    weight = convolution.weight.detach()
    # A pixel of the large picture lies between two of the small one, at a quarter of the way from the nearer.
    steps = torch.tensor([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]])
    shares = torch.stack([steps[phase : phase + 3] for phase in range(CELL)])  # phase, tap of 3, small pixel
    small = torch.einsum("oidr,pdy,qrx->pqoiyx", weight, shares, shares)
    return _as_convolution(small.flatten(0, 2), convolution.bias)


def convolve_packed(convolution: nn.Conv2d) -> nn.Conv2d:
    """A 3x3 convolution, as one of packed pictures: (B, 4 * inputs, h, w) -> (B, 4 * outputs, h, w).

    The outermost cell once more beyond the border is, for a 3x3 kernel, the picture reflected there.
    """
    weight = convolution.weight.detach()
    outputs, inputs = weight.shape[:2]
    packed = weight.new_zeros(CELL, CELL, outputs, CELL, CELL, inputs, 3, 3)
    for row, column, down, right in _phases_and_taps():
        (far_row, from_row), (far_column, from_column) = divmod(row + down - 1, CELL), divmod(column + right - 1, CELL)
        packed[row, column, :, from_row, from_column, :, far_row + 1, far_column + 1] = weight[:, :, down, right]
    return _as_convolution(packed.flatten(3, 5).flatten(0, 2), convolution.bias)


def _phases_and_taps() -> Iterator[tuple[int, int, int, int]]:
    """Row and column in the cell of the result; row and column in the kernel."""
    return product(range(CELL), range(CELL), range(3), range(3))


def _as_convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    convolution = nn.Conv2d(
        weight.shape[1], weight.shape[0], 3, padding=1, padding_mode="replicate", bias=bias is not None
    )
    with torch.no_grad():
        convolution.weight.copy_(weight)
        if bias is not None and convolution.bias is not None:
            convolution.bias.copy_(bias.repeat(CELL**2))
    return convolution
