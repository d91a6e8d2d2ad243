# SPDX-License-Identifier: Apache-2.0
"""Entropy masks: which self-attention layers and heads are worth their cost (paper, section on dynamic masks).

Everything is a function of attention statistics: who captures queries and keys does not matter here. Entropies are
divided by log(keys), because raw ones grow with the number of tokens and would keep high-resolution layers only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BETA = 0.7


@dataclass(frozen=True)
class AttentionSite:
    """One self-attention: its name, tokens of queries and of keys, heads, and channels of a head."""

    name: str
    queries: int
    keys: int
    heads: int
    head_channels: int

    @property
    def head_flops(self) -> int:
        """Operations of one head for one sample: Q K^T and P V, a multiplication and an addition each."""
        return 4 * self.queries * self.keys * self.head_channels


def normalised_entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy (...) of attention rows (..., queries, keys) by log(keys): 0 for one-hot rows, 1 for uniform ones.

    Rows must add up to 1. A single key has no choice, and entropy 0.
    """
    keys = probabilities.shape[-1]
    if keys < 2:
        return torch.zeros(probabilities.shape[:-2], dtype=torch.float32, device=probabilities.device)
    rows = torch.special.entr(probabilities.float()).sum(-1)
    return (rows.mean(-1) / math.log(keys)).clamp(0, 1)


def attention_entropy(query: Tensor, key: Tensor, most_queries: int = 256) -> Tensor:
    """Normalised entropy (B, heads) of softmax(Q K^T / sqrt(d)) for queries and keys (B, heads, tokens, d).

    At most `most_queries` queries, evenly spread, are looked at: memory stays bounded, and a mean needs no more.
    """
    tokens = query.shape[-2]
    places = torch.linspace(0, tokens - 1, min(tokens, most_queries), device=query.device).round().long()
    scores = query[..., places, :].float() @ key.float().mT / math.sqrt(query.shape[-1])
    return normalised_entropy(scores.softmax(-1))


def keep_layers(
    entropies: Sequence[float], tokens: Sequence[int], protected: Sequence[int] = (), beta: float = BETA
) -> list[bool]:
    """Which layers to keep: those with entropy > beta * max, the highest of each resolution, and protected ones.

    entropies: one normalised entropy a layer; tokens: its queries, which tell resolutions apart; protected: indices of
    layers that the loss reads. Raises ValueError for lists of different length or a beta outside 0..1.
    """
    if len(entropies) != len(tokens):
        raise ValueError(f"{len(entropies)} entropies do not fit {len(tokens)} layers")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must be in 0..1, got {beta}")
    threshold = beta * max(entropies, default=0.0)
    kept = [entropy > threshold or index in protected for index, entropy in enumerate(entropies)]
    for resolution in set(tokens):
        layers = [index for index, count in enumerate(tokens) if count == resolution]
        if not any(kept[index] for index in layers):
            kept[max(layers, key=lambda index: entropies[index])] = True
    return kept


class HeadSelection:
    """The half of a layer's heads with the highest entropy, chosen so that it does not flicker.

    heads: how many there are; share: how many to keep (at least one); decay: EMA factor of entropies; margin: by how
    much a head's EMA must exceed a kept one's to take its place. Raises ValueError for a share outside 0..1.
    """

    def __init__(self, heads: int, share: float = 0.5, decay: float = 0.9, margin: float = 0.02) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share of heads must be in 0..1, got {share}")
        self.count = max(1, round(share * heads))
        self.decay, self.margin = decay, margin
        self._ema: Tensor | None = None
        self._kept = torch.zeros(heads, dtype=torch.bool)

    def update(self, entropies: Tensor) -> Tensor:
        """Take in the heads' entropies (heads,); returns the mask (heads,), True where a head is kept."""
        entropies = entropies.detach().float().cpu()
        self._ema = entropies if self._ema is None else self._ema.lerp(entropies, 1 - self.decay)
        # Kept heads defend their place with the margin.
        ranked = (self._ema + self.margin * self._kept).argsort(descending=True, stable=True)
        self._kept = torch.zeros_like(self._kept)
        self._kept[ranked[: self.count]] = True
        return self._kept.clone()

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"ema": None if self._ema is None else self._ema.clone(), "kept": self._kept.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._ema = None if state["ema"] is None else state["ema"].clone()
        self._kept = state["kept"].clone()


@dataclass(frozen=True)
class EntropyMask:
    """The chosen layers and heads of a network: one entry a site in each list, heads as kept or not."""

    sites: tuple[AttentionSite, ...]
    entropies: tuple[float, ...]
    layers: tuple[bool, ...]
    heads: tuple[tuple[bool, ...], ...]

    @property
    def flops(self) -> int:
        """Operations of all sites' attention for one sample."""
        return sum(site.heads * site.head_flops for site in self.sites)

    @property
    def flops_saved(self) -> int:
        """Operations that left-out layers and heads would take; projections before and after are not counted."""
        kept = sum(
            layer * sum(heads) * site.head_flops
            for site, layer, heads in zip(self.sites, self.layers, self.heads, strict=True)
        )
        return self.flops - kept

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = zip(self.sites, self.entropies, self.layers, self.heads, strict=True)
        layers = [{**vars(site), "entropy": e, "kept": layer, "kept_heads": list(h)} for site, e, layer, h in rows]
        return {"layers": layers, "flops": self.flops, "flops_saved": self.flops_saved}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EntropyMask:
        """The mask that `to_dict` made `values` of; raises KeyError where something lacks."""
        rows = values["layers"]
        names = AttentionSite.__dataclass_fields__
        return cls(
            tuple(AttentionSite(**{name: row[name] for name in names}) for row in rows),
            tuple(row["entropy"] for row in rows),
            tuple(row["kept"] for row in rows),
            tuple(tuple(row["kept_heads"]) for row in rows),
        )


def choose_mask(
    sites: Sequence[AttentionSite],
    entropies: Sequence[Tensor],
    protected: Sequence[int] = (),
    beta: float = BETA,
    selections: Sequence[HeadSelection] | None = None,
) -> EntropyMask:
    """The mask for sites with the entropies of their heads (heads,) each, as `attention_entropy` tells them.

    protected: indices of sites that stay whole, heads too. selections: remembers earlier choices of heads, one a site;
    without them the choice is of this moment alone.
    """
    means = [float(entropy.mean()) for entropy in entropies]
    layers = keep_layers(means, [site.queries for site in sites], protected, beta)
    chosen = selections or [HeadSelection(site.heads) for site in sites]
    heads = []
    for index, (selection, entropy) in enumerate(zip(chosen, entropies, strict=True)):
        kept = selection.update(entropy).tolist()
        heads.append(tuple(True for _ in kept) if index in protected else tuple(kept))
    return EntropyMask(tuple(sites), tuple(means), tuple(layers), tuple(heads))
