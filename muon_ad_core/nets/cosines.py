# SPDX-License-Identifier: Apache-2.0
"""Cosine patterns of blocks of pixels: few of them carry most of a photograph."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

OPPONENT_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Orthogonal mixtures of red, green and blue: brightness and two opponent colours."""


def strongest_patterns(block: int, count: int) -> Tensor:
    """Orthonormal patterns (count, 3 * block^2), ordered as `pack_pixels` orders pixels, the most frequent ones first.

    In photographs these are brightness, slowly varying, before colour, of which two octaves less are seen.
    """
    cosines = cosine_matrix(block)
    colours = torch.tensor(OPPONENT_COLOURS, dtype=torch.float64)
    colours = colours / colours.norm(dim=1, keepdim=True)

    def rarity(pattern: tuple[int, int, int]) -> int:
        colour, vertical, horizontal = pattern
        frequency = vertical**2 + horizontal**2
        return 3 + 4 * frequency if colour else frequency

    chosen = sorted(product(range(3), range(block), range(block)), key=rarity)[:count]
    patterns = [torch.einsum("r,c,k->rck", cosines[v], cosines[h], colours[k]).flatten() for k, v, h in chosen]
    return torch.stack(patterns).float()


def cosine_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II, (size, size) float64; rows are frequencies."""
    index = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (index[None] + 0.5) * index[:, None]) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
