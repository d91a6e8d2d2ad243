# SPDX-License-Identifier: Apache-2.0
"""The style's palette on a photograph: the linear map of colours that moves them least (Pitié and Kokaram, 2007).

Patches of the photograph then lie among those of the style, and the nearest one is told by structure.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LEAST_VARIANCE = 1e-3
"""Added to every variance of [-1, 1] colours: else a flat photograph's noise would get the style's contrast."""


def transfer_colours(
    content: Tensor,
    styles: Sequence[Tensor],
    labels: Tensor | None = None,
    style_labels: Sequence[Tensor] | None = None,
) -> Tensor:
    """The content (1, 3, H, W) in [-1, 1] with mean and covariance of the styles' colours.

    labels (H, W), style_labels: regions; each gets the colours of its own region of the styles, of all where they have
    none.
    """
    wanted = torch.cat([style[0].flatten(1) for style in styles], dim=1)
    found = content[0].flatten(1).clone()
    if labels is None or style_labels is None:
        return _mapped(found, wanted).view_as(content).clamp(-1, 1)
    of_pixel, of_style = labels.flatten(), torch.cat([map_.flatten() for map_ in style_labels])
    for label in of_pixel.unique():
        same = of_style == label
        found[:, of_pixel == label] = _mapped(found[:, of_pixel == label], wanted[:, same] if same.any() else wanted)
    return found.view_as(content).clamp(-1, 1)


def _mapped(colours: Tensor, wanted: Tensor) -> Tensor:
    """Colours (3, n) by A = C^-1/2 (C^1/2 W C^1/2)^1/2 C^-1/2 of the covariances C and W."""
    root = _power(_covariance(colours), 0.5)
    inverse = torch.linalg.inv(root)
    matrix = inverse @ _power(root @ _covariance(wanted) @ root, 0.5) @ inverse
    return matrix @ (colours - colours.mean(dim=1, keepdim=True)) + wanted.mean(dim=1, keepdim=True)


def _covariance(colours: Tensor) -> Tensor:
    return torch.cov(colours, correction=0) + LEAST_VARIANCE * torch.eye(3)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0) ** exponent) @ vectors.T
