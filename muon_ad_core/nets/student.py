# SPDX-License-Identifier: Apache-2.0
"""The distilled student: a content network that paints a frame under a style code.

Dense 3x3 convolutions at 1/8 and 1/4 resolution are what CPU matrix units and tensor cores run best. Upsampling is
bilinear plus convolution, which costs nothing in the exported graph (`phases`): a pixel shuffle would give every phase
of a cell weights of its own, and the network then prints the same stroke into every cell (a visible lattice that stands
still while the scene moves).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muon_ad_core.nets.cosines import strongest_patterns
from muon_ad_core.nets.frame_context import FrameContext
from muon_ad_core.nets.rectifier import Rectifier

Level = Literal["fast", "fine"]
LEVELS: tuple[Level, ...] = ("fast", "fine")
INPUT_BLOCK = 4
"""Pixels along one side of the block that is packed into channels at the input."""
OUTPUT_BLOCK: dict[Level, int] = {"fast": 4, "fine": 2}
"""The same at the output: `fast` leaves at 1/4 resolution, `fine` at 1/2."""
START_NOISE = 0.1
START_PAINT = 0.3
"""Before training: of the usual random weights, what is left beside the picture, and in what the body adds to it."""
Edges = Literal["replicate", "reflect"]
EDGES: Edges = "replicate"
HALF_EDGES: Edges = "reflect"
"""Beyond the border features are those of the outermost places; at 1/2 resolution those of the places before them:
packed by cells (`packed_student`), it is the outermost cell that goes on."""
FILM_SPREAD = 0.04
"""Standard deviation of what a number of the code adds to scales and shifts, before training."""


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student.

    width: channels of the body at 1/8 resolution; blocks: residual blocks there; quarter_width and half_width:
    channels at 1/4 and 1/2 resolution; code: length of the style code; inner: channels inside each of the residual
    blocks, empty for `width` in all. Widths should be multiples of 16. Raises ValueError when `inner` does not fit.
    """

    width: int = 128
    blocks: int = 4
    quarter_width: int = 32
    half_width: int = 16
    code: int = 64
    inner: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.inner) not in (0, self.blocks):
            raise ValueError(f"{self.blocks} blocks need as many inner widths, not {len(self.inner)}")

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Channels inside each of the residual blocks."""
        return self.inner or (self.width,) * self.blocks

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a manifest or a checkpoint."""
        return {**asdict(self), "inner": list(self.inner)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudentConfig:
        """Inverse of `to_dict`; raises TypeError or ValueError for other values."""
        return cls(**{**values, "inner": tuple(values.get("inner", ()))})


def pack_pixels(picture: Tensor, block: int) -> Tensor:
    """Move block x block pixels into channels, ordered (row, column, colour) as a strided NHWC copy orders them.

    picture (B, C, H, W) with H and W multiples of block -> (B, block*block*C, H/block, W/block).
    """
    batch, channels, height, width = picture.shape
    cells = picture.reshape(batch, channels, height // block, block, width // block, block)
    return cells.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block, width // block)


def unpack_pixels(packed: Tensor, block: int) -> Tensor:
    """Inverse of `pack_pixels`: (B, block*block*C, h, w) -> (B, C, h*block, w*block)."""
    batch, channels, height, width = packed.shape
    cells = packed.reshape(batch, block, block, channels // block**2, height, width)
    return cells.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


def _signed(patterns: Tensor) -> Tensor:
    """Patterns and their negatives: a ReLU passes one half of each."""
    return torch.cat([patterns, -patterns])


class FiLM(nn.Module):
    """Feature-wise linear modulation by the style code (Perez et al., 2018): x * (1 + gamma(code)) + beta(code)."""

    def __init__(self, code: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(code, 2 * channels)
        nn.init.normal_(self.linear.weight, std=FILM_SPREAD)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        gamma_beta = self.linear(code)[:, :, None, None]
        # Fixed numbers: from a shape, the exported graph would compute them again for every frame.
        channels = self.linear.out_features // 2
        return features * (1 + gamma_beta[:, :channels]) + gamma_beta[:, channels:]


class UpsampledConvolution(nn.Conv2d):
    """Bilinear upsampling by 2 and a 3x3 convolution: (B, inputs, h, w) -> (B, outputs, 2h, 2w).

    It is the small picture that goes on beyond its border, so that one convolution of it can do the same (`phases`).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, features: Tensor) -> Tensor:
        wide = F.interpolate(F.pad(features, (1, 1, 1, 1), EDGES), scale_factor=2.0, mode="bilinear")
        return F.conv2d(wide[:, :, 1:-1, 1:-1], self.weight, self.bias)


class ResidualBlock(nn.Module):
    """Two dense 3x3 convolutions around a modulated ReLU of `inner` channels, added to their input."""

    def __init__(self, channels: int, code: int, inner: int, edges: Edges = EDGES) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, inner, 3, padding=1, padding_mode=edges)
        self.modulation = FiLM(code, inner)
        self.second = nn.Conv2d(inner, channels, 3, padding=1, padding_mode=edges)
        self.rectify = Rectifier()
        # Every block starts near the identity.
        nn.init.normal_(self.second.weight, std=0.2 / (9 * inner) ** 0.5)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        hidden = self.rectify(self.modulation(self.first(features), code))
        return features + self.second(hidden)


class Student(nn.Module):
    """Content network with two exits that share one body and one style code."""

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or StudentConfig()
        quarter, half = config.quarter_width, config.half_width
        self.context = FrameContext(config.code)
        self.stem = nn.Conv2d(3 * INPUT_BLOCK**2, quarter, 3, padding=1, padding_mode=EDGES)
        self.down = nn.Conv2d(quarter, config.width, 4, stride=2, padding=1, padding_mode=EDGES)
        self.body = nn.ModuleList(ResidualBlock(config.width, config.code, inner) for inner in config.inner_widths)
        self.up_quarter = UpsampledConvolution(config.width, quarter)
        self.quarter_modulation = FiLM(config.code, quarter)
        self.fast_head = nn.Conv2d(quarter, 3 * OUTPUT_BLOCK["fast"] ** 2, 3, padding=1, padding_mode=EDGES)
        self.up_half = UpsampledConvolution(quarter, half)
        self.up_detail = nn.Conv2d(quarter, OUTPUT_BLOCK["fine"] ** 2 * half, 1, bias=False)
        self.half_modulation = FiLM(config.code, half)
        self.half_block = ResidualBlock(half, config.code, half, HALF_EDGES)
        self.fine_head = nn.Conv2d(half, 3 * OUTPUT_BLOCK["fine"] ** 2, 3, padding=1, padding_mode=HALF_EDGES)
        self.rectify = Rectifier()
        self._start_as_picture()

    def _start_as_picture(self) -> None:
        """Let both levels begin near the identity: the stem keeps the strongest patterns, and the heads show them.

        From random weights a run takes thousands of steps to find out what its picture looks like.
        """
        patterns = _signed(strongest_patterns(INPUT_BLOCK, self.config.quarter_width // 2))
        block = OUTPUT_BLOCK["fine"]
        cell_patterns = _signed(strongest_patterns(block, self.config.half_width // 2))
        cells = pack_pixels(unpack_pixels(patterns[:, :, None, None], INPUT_BLOCK), block)
        detail = torch.einsum("hk,skij->ijhs", cell_patterns, cells).flatten(0, 2)
        with torch.no_grad():
            for layer in (self.stem, self.fast_head, self.fine_head):
                layer.weight.mul_(START_NOISE)
                if layer.bias is not None:
                    layer.bias.zero_()
            for layer in (self.up_quarter, self.up_half):
                layer.weight.mul_(START_PAINT)
            self.stem.weight[: len(patterns), :, 1, 1] += patterns
            self.fast_head.weight[:, : len(patterns), 1, 1] += patterns.mT
            self.up_detail.weight.zero_()
            rows = self.up_detail.weight.view(block, block, -1, self.config.quarter_width)
            rows[:, :, : len(cell_patterns), : len(patterns)] = detail.view(block, block, len(cell_patterns), -1)
            self.fine_head.weight[:, : len(cell_patterns), 1, 1] += cell_patterns.mT

    def quarter_features(self, packed: Tensor, code: Tensor) -> Tensor:
        """The part both levels share: packed pixels (B, 48, h, w) in [-1, 1] -> features (B, quarter_width, h, w).

        h and w must be even.
        """
        skip = self.rectify(self.stem(packed))
        features = self.eighth_features(skip, code)
        return self.rectify(self.quarter_modulation(self.up_quarter(features) + skip, code))

    def eighth_features(self, stem: Tensor, code: Tensor) -> Tensor:
        """The body: what the stem found (B, quarter_width, h, w) -> features (B, width, h/2, w/2)."""
        features = self.rectify(self.down(stem))
        for block in self.body:
            features = block(features, code)
        return features

    def head(self, features: Tensor, code: Tensor, level: Level) -> Tensor:
        """From shared features to packed pixels: (B, 48, h, w) for `fast`, (B, 12, 2h, 2w) for `fine`."""
        if level == "fast":
            return self.fast_head(features)
        detail = unpack_pixels(self.up_detail(features), OUTPUT_BLOCK["fine"])
        features = self.up_half(features) + detail
        features = self.rectify(self.half_modulation(features, code))
        return self.fine_head(self.rectify(self.half_block(features, code)))

    def forward(self, picture: Tensor, code: Tensor, level: Level = "fine") -> Tensor:
        """Stylise pictures (B, 3, H, W) in [-1, 1], H and W multiples of 8, under codes (B, code).

        Codes are those of styles and what `context` adds for the whole frame, as for the exported graphs.
        """
        features = self.quarter_features(pack_pixels(picture, INPUT_BLOCK), code)
        return unpack_pixels(self.head(features, code, level), OUTPUT_BLOCK[level])
