# SPDX-License-Identifier: Apache-2.0
"""The built-in micro teacher: a small flow-matching U-Net on lapped-transform coefficients, trained from nothing.

Every picture detail passes through the tokens of its decoder's self-attentions: there is no path around them at a finer
grid, so that their values must tell strokes and not only layout. What it denoises does not matter afterwards; its
attention features are what the optimiser reads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muon_ad_core.nets.lapped import LappedTransform
from muon_ad_core.nets.student import FiLM

GROUPS = 8
SMALLEST_TIME = 0.1
"""Below this time the clean picture and its noisy version are too alike to tell their velocity apart."""


@dataclass(frozen=True)
class MicroTeacherConfig:
    """Sizes of a micro teacher.

    block: pixels along one side of a token at the finest grid. widths: channels of the grids, each half as fine as
    the one before. encoder_blocks, decoder_blocks: residual blocks a grid; every decoder block has a self-attention.
    head: channels of an attention head (few wide heads: attention costs by their number). time: length of the time
    embedding.
    """

    block: int = 8
    widths: tuple[int, ...] = (128, 192)
    encoder_blocks: tuple[int, ...] = (2, 1)
    decoder_blocks: tuple[int, ...] = (3, 1)
    head: int = 64
    time: int = 64

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest or a checkpoint."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MicroTeacherConfig:
        """Inverse of to_dict()."""
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**plain)

    @property
    def stride(self) -> int:
        """Sides of pictures must be multiples of this."""
        return self.block * 2 ** (len(self.widths) - 1)


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions, modulated by the time, added to their input; the identity at the start."""

    def __init__(self, channels: int, time: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(GROUPS, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.GroupNorm(GROUPS, channels)
        self.modulation = FiLM(time, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        hidden = self.first(F.silu(self.first_norm(features)))
        return features + self.second(F.silu(self.modulation(self.second_norm(hidden), time)))


class SelfAttention(nn.Module):
    """Multi-head self-attention over positions with normalised queries and keys, added to its input.

    Queries and keys start equal: tokens look for tokens like themselves, which is what finds the style's patches for a
    picture's. From unlike ones attention stays nearly uniform for long, and tells no more than means.
    """

    def __init__(self, channels: int, head: int) -> None:
        super().__init__()
        self.heads = channels // head
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.projection = nn.Linear(channels, 3 * channels)
        self.sharpness = nn.Parameter(torch.ones(self.heads, 1, 1))
        with torch.no_grad():
            for parameter in self.projection.parameters():
                parameter[channels : 2 * channels] = parameter[:channels]
        self.output = nn.Linear(channels, channels)
        nn.init.normal_(self.output.weight, std=0.2 / channels**0.5)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor) -> Tensor:
        grid = features.shape[2:]
        tokens = self.norm(features).permute(0, 2, 3, 1).flatten(1, 2)
        split = self.projection(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Contiguous operands: attention on strided views is several times slower on CPUs.
        query, key, value = (part.contiguous() for part in split)
        query = F.rms_norm(query, query.shape[-1:]) * self.sharpness.to(query.dtype)
        key = F.rms_norm(key, key.shape[-1:])
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = self.output(mixed.transpose(1, 2).flatten(2))
        return features + tokens.unflatten(1, grid).permute(0, 3, 1, 2)


class MicroTeacher(nn.Module):
    """Predicts clean coefficients from noisy ones; flow matching with x_t = (1 - t) x + t noise, t in [0, 1]."""

    scale: Tensor

    def __init__(self, config: MicroTeacherConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MicroTeacherConfig()
        widths, channels = config.widths, 3 * config.block**2
        self.transform = LappedTransform(config.block)
        # Multiplies coefficients; measured on training pictures before the training starts.
        self.register_buffer("scale", torch.ones(channels))
        self.time = nn.Sequential(nn.Linear(config.time, config.time), nn.SiLU(), nn.Linear(config.time, config.time))
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(_blocks(w, n, config) for w, n in zip(widths, config.encoder_blocks, strict=True))
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.join = nn.ModuleList(nn.Conv2d(2 * fine, fine, 1) for fine, _ in pairs)
        self.decoder = nn.ModuleList(_blocks(w, n, config) for w, n in zip(widths, config.decoder_blocks, strict=True))
        self.attention = nn.ModuleList(
            nn.ModuleList(SelfAttention(width, config.head) for _ in range(count))
            for width, count in zip(widths, config.decoder_blocks, strict=True)
        )
        self.head_norm = nn.GroupNorm(GROUPS, widths[0])
        self.head = nn.Conv2d(widths[0], channels, 3, padding=1)

    def encode(self, picture: Tensor) -> Tensor:
        """Scaled coefficients (B, 3 * block^2, H / block, W / block) of pictures (B, 3, H, W) in [-1, 1]."""
        return self.transform(picture) * self.scale[:, None, None]

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures of scaled coefficients; the exact inverse of encode()."""
        return self.transform.inverse(latent / self.scale[:, None, None])

    def attentions(self) -> list[tuple[str, SelfAttention]]:
        """Name and module of every self-attention, in the order in which they run."""
        layers = {name: module for name, module in self.named_modules() if isinstance(module, SelfAttention)}
        # Coarse levels run first, the layers of a level in their order.
        names = sorted(layers, key=lambda name: -int(name.split(".")[1]))
        return [(name, layers[name]) for name in names]

    def decoder_features(self, latent: Tensor, time: Tensor) -> Tensor:
        """Features (B, widths[0], h, w) after the last decoder block, of coefficients at times (B,)."""
        embedded = self.time(_sinusoids(time, self.config.time))
        features, kept = self.stem(latent), []
        for level, blocks in enumerate(self.encoder):
            if level:
                features = self.down[level - 1](features)
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                features = block(features, embedded)
            kept.append(features)
        for level in reversed(range(len(kept))):
            if level < len(kept) - 1:
                features = F.interpolate(self.up[level](features), scale_factor=2.0, mode="nearest")
                features = self.join[level](torch.cat([features, kept[level]], dim=1))
            for block, attention in self._decoder_pairs(level):
                features = attention(block(features, embedded))
        return features

    def _decoder_pairs(self, level: int) -> Iterator[tuple[nn.Module, nn.Module]]:
        blocks, attentions = self.decoder[level], self.attention[level]
        assert isinstance(blocks, nn.ModuleList) and isinstance(attentions, nn.ModuleList)
        return zip(blocks, attentions, strict=True)

    def forward(self, latent: Tensor, time: Tensor) -> Tensor:
        """Clean coefficients guessed from noisy ones (B, C, h, w) at times (B,)."""
        return self.head(F.silu(self.head_norm(self.decoder_features(latent, time))))


def _blocks(width: int, count: int, config: MicroTeacherConfig) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(width, config.time) for _ in range(count))


def _sinusoids(time: Tensor, length: int) -> Tensor:
    """Embedding (B, length) of times (B,) in [0, 1]."""
    rates = torch.exp(torch.linspace(0.0, math.log(1000.0), length // 2, device=time.device))
    angles = time[:, None].float() * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
