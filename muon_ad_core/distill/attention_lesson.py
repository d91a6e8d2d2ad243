# SPDX-License-Identifier: Apache-2.0
"""Attention distillation from a teacher into a network that paints: its self-attentions judge the painted pictures.

The same losses as of an optimised picture (`attention_objective`), with a photograph and a style that change from step
to step. Pictures are seen through a window at a random place inside a token's cell, so that no grid is printed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from muon_ad_core.distill.attention import Attention
from muon_ad_core.distill.attention_losses import StyleTokens, ad_l1, content_loss, style_tokens
from muon_ad_core.distill.painting_losses import LossWeights, Views
from muon_ad_core.distill.pictures import resize_long_side, to_tensor
from muon_ad_core.distill.teachers.base import Teacher


class AttentionLosses:
    """Style and content losses of a teacher's attentions; a style's tokens are computed when it first comes."""

    def __init__(self, teacher: Teacher, styles: Sequence[np.ndarray], style_side: int, weights: LossWeights) -> None:
        """styles: as of `painting_losses.PerceptualLosses`."""
        self._teacher, self._weights = teacher, weights
        self._styles, self._style_side = styles, style_side
        self._sites = teacher.default_sites
        self._time = teacher.times(1)[0]
        self._tokens: dict[int, list[StyleTokens]] = {}

    def __call__(self, painted: Tensor, views: Views, random: np.random.Generator) -> dict[str, Tensor]:
        """painted: (2B, 3, S, S), of which the first views are looked at. Weighted losses by name."""
        count = len(views.first)
        row, column = (int(value) for value in random.integers(self._teacher.stride, size=2))
        found = self._attentions(self._window(painted[:count], row, column))
        with torch.no_grad():
            wanted = self._attentions(self._window(views.first, row, column))
        style = [ad_l1(_of(found, place), self._tokens_of(index)) for place, index in enumerate(views.styles)]
        factor = self._weights.attention
        return {
            "attention": factor * torch.stack(style).mean(),
            "attention_content": factor * self._weights.attention_content * content_loss(found, wanted),
        }

    def _attentions(self, pictures: Tensor) -> list[Attention]:
        return self._teacher.features(self._teacher.encode(pictures.float()), self._time, self._sites)

    def _window(self, pictures: Tensor, row: int, column: int) -> Tensor:
        stride = self._teacher.stride
        rows, columns = (side // stride * stride - stride for side in pictures.shape[2:])
        return pictures[:, :, row : row + rows, column : column + columns]

    def _tokens_of(self, index: int) -> list[StyleTokens]:
        if index not in self._tokens:
            picture = to_tensor([resize_long_side(self._styles[index], self._style_side)])
            stride = self._teacher.stride
            height, width = (side // stride * stride for side in picture.shape[2:])
            with torch.no_grad():
                self._tokens[index] = style_tokens([self._attentions(picture[:, :, :height, :width])])
        return self._tokens[index]


def _of(attentions: Sequence[Attention], place: int) -> list[Attention]:
    """The attentions of one picture of a batch."""
    part = slice(place, place + 1)
    return [Attention(a.query[part], a.key[part], a.value[part], a.output[part]) for a in attentions]
