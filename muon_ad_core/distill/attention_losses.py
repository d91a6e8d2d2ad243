# SPDX-License-Identifier: Apache-2.0
"""Losses on captured self-attentions: style by values, content by queries, and divergences of attention maps.

Zhou et al., 2025 (attention distillation) for style and content; the divergences are two readings of the paper's
sum of KL(Attn_s || Attn_g). Targets never get gradients. A batch of one style serves every sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from muon_ad_core.distill.attention import Attention

Attentions = Sequence[Attention]
KL_CHUNK = 512
"""Rows of attention maps that are compared at a time: memory does not grow with their square."""


@dataclass(frozen=True)
class StyleTokens:
    """Keys and values of the style pictures at one site, (1, heads, N, d), and the label (N,) of each token.

    labels: of region masks; None where there are none.
    """

    key: Tensor
    value: Tensor
    labels: Tensor | None = None


def style_tokens(pictures: Sequence[Attentions], labels: Sequence[Sequence[Tensor]] | None = None) -> list[StyleTokens]:
    """Tokens of several style pictures, joined site by site.

    pictures: the attentions of every style picture; labels: for every picture, the labels (N,) at every site.
    """
    joined = []
    for site, attentions in enumerate(zip(*pictures, strict=True)):
        key, value = (torch.cat([getattr(a.detach(), name) for a in attentions], dim=2) for name in ("key", "value"))
        site_labels = None if labels is None else torch.cat([picture[site] for picture in labels])
        joined.append(StyleTokens(key, value, site_labels))
    return joined


def ad_l1(found: Attentions, style: Sequence[StyleTokens], labels: Sequence[Tensor] | None = None) -> Tensor:
    """Sum over sites of mean |O - O*|, O* = softmax(Q Ks^T / sqrt(d)) Vs: what the queries find in the style instead.

    labels: of the pictures' tokens (B, N) at every site; a token then sees style tokens of its own label only.
    """
    total = found[0].output.new_zeros((), dtype=torch.float32)
    for index, (attention, tokens) in enumerate(zip(found, style, strict=True)):
        mask = None if labels is None or tokens.labels is None else allowed(labels[index], tokens.labels)[:, None]
        with torch.no_grad():
            target = _attend(attention.query, tokens, mask)
        total = total + (attention.output.float() - target.float()).abs().mean()
    return total


def content_loss(found: Attentions, content: Attentions) -> Tensor:
    """Sum over sites of mean |Q - Q of the content picture|."""
    pairs = zip(found, content, strict=True)
    return torch.stack([(a.query.float() - b.query.detach().float()).abs().mean() for a, b in pairs]).sum()


def kl_teacher(found: Attentions, teacher: Attentions) -> Tensor:
    """Sum over sites of KL(P_teacher || P), mean over rows; both networks have seen the same input.

    For distilling a pruned network from the full one. Heads must be equal in number.
    """
    return torch.stack([_divergence(b.detach(), a) for a, b in zip(found, teacher, strict=True)]).sum()


def kl_literal(found: Attentions, style: Attentions, grids: Sequence[tuple[int, int]]) -> Tensor:
    """The paper's sum of KL(Attn_s || Attn_g), taken literally, for ablation: rows of unlike positions are compared.

    The style's queries and keys are resampled to the picture's tokens. grids: (rows, columns) of the style's tokens
    at every site; the picture's grid has their shape where the numbers agree, else the nearest in shape.
    """
    total = []
    for attention, other, grid in zip(found, style, grids, strict=True):
        count = attention.query.shape[2]
        query, key = (resample_tokens(x, grid, count) for x in (other.query.detach(), other.key.detach()))
        total.append(_divergence(Attention(query, key, key, key), attention))
    return torch.stack(total).sum()


def resample_tokens(tokens: Tensor, grid: tuple[int, int], count: int) -> Tensor:
    """Tokens (B, heads, rows * columns, d) interpolated to `count` tokens along their row-by-row order."""
    batch, heads, _, size = tokens.shape
    if tokens.shape[2] == count:
        return tokens
    rows = round((count * grid[0] / grid[1]) ** 0.5)
    while count % rows:
        rows -= 1
    picture = tokens.transpose(2, 3).reshape(batch, heads * size, *grid).float()
    resized = F.interpolate(picture, (rows, count // rows), mode="bilinear", align_corners=False)
    return resized.reshape(batch, heads, size, count).transpose(2, 3).to(tokens.dtype)


def allowed(labels: Tensor, style_labels: Tensor) -> Tensor:
    """Which style tokens a token may see: those of its label, or all where the style lacks the label.

    labels (..., N), style_labels (Ns,) -> (..., N, Ns).
    """
    same = labels[..., None] == style_labels
    return same | ~same.any(dim=-1, keepdim=True)


def image_feature_loss(
    features: Callable[[Tensor], Sequence[Tensor]], picture: Tensor, content: Sequence[Tensor]
) -> Tensor:
    """Mean over layers of the mean squared difference between features of a picture and of the content picture.

    features: of any image model, for instance CLIP's hidden states at a quarter, half and three quarters of its depth.
    """
    found = features(picture)
    return torch.stack([(a - b.detach()).square().mean() for a, b in zip(found, content, strict=True)]).mean()


def _attend(query: Tensor, tokens: StyleTokens, mask: Tensor | None) -> Tensor:
    key, value = (x.to(query.dtype).expand(len(query), -1, -1, -1).contiguous() for x in (tokens.key, tokens.value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _divergence(target: Attention, found: Attention) -> Tensor:
    """Mean over rows of KL(P_target || P_found)."""
    total = found.query.new_zeros((), dtype=torch.float32)
    rows = found.query.shape[2]
    for start in range(0, rows, KL_CHUNK):
        chunk = slice(start, start + KL_CHUNK)
        expected, actual = (_log_map(a.query[:, :, chunk], a.key) for a in (target, found))
        total = total + (expected.exp() * (expected - actual)).sum()
    return total / (found.query.shape[0] * found.query.shape[1] * rows)


def _log_map(query: Tensor, key: Tensor) -> Tensor:
    return torch.log_softmax(query.float() @ key.float().mT / query.shape[-1] ** 0.5, dim=-1)
