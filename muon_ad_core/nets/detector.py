# SPDX-License-Identifier: Apache-2.0
"""The detector network: 4x4 pixel blocks in, a dense 3x3 residual body, a small feature pyramid, anchor-free heads.

Dense 3x3 convolutions with widths in multiples of 32 are what CPU matrix units and tensor cores run best, so there is
no depthwise convolution. Boxes are discrete distance distributions and class scores carry localisation quality (Li et
al., "Generalized Focal Loss", 2020). Every convolution is followed by batch normalisation, folded at export.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from muon_ad_core.nets.student import pack_pixels

INPUT_BLOCK = 4
STRIDES = (8, 16, 32)
BACKGROUND_LOGIT = -4.6  # every score starts at 0.01: most locations are background


@dataclass(frozen=True)
class DetectorShape:
    """Architecture of a DetectorNet; widths belong in multiples of 32.

    Attributes:
        classes: number of object classes.
        bins: distance bins a box side, in strides: 8 bins reach 7 strides to each side.
        stem: channels at 1/4 resolution.
        widths: channels at 1/8, 1/16, 1/32.
        blocks: residual blocks at 1/8, 1/16, 1/32.
        pyramid: channels of the pyramid.
        inner: channels between the two convolutions of each block, stage by stage; empty: as wide as the stage. Pruned
            networks have their own.
        towers: channels of the towers before the class head and the box head; empty: as wide as the pyramid.
    """

    classes: int = 80
    bins: int = 8
    stem: int = 32
    widths: tuple[int, int, int] = (64, 160, 256)
    blocks: tuple[int, int, int] = (2, 2, 2)
    pyramid: int = 64
    inner: tuple[tuple[int, ...], ...] = ()
    towers: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DetectorShape:
        """Inverse of as_dict(), also after a way through JSON."""
        known = dict(values)
        for name in ("widths", "blocks", "towers"):
            known[name] = tuple(known.get(name, ()))
        known["inner"] = tuple(tuple(stage) for stage in known.get("inner", ()))
        return cls(**known)

    def inner_widths(self, stage: int) -> tuple[int, ...]:
        """Channels between the two convolutions of each block of a stage."""
        return self.inner[stage] if self.inner else (self.widths[stage],) * self.blocks[stage]

    def tower_widths(self) -> tuple[int, int]:
        """Channels of the class towers and of the box towers."""
        return (self.towers[0], self.towers[1]) if self.towers else (self.pyramid, self.pyramid)


class ConvBlock(nn.Module):
    """k x k convolution, batch normalisation, ReLU (unless `activate` is False)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, kernel: int = 3, activate: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return functional.relu(x) if self.activate else x


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip; starts as the identity."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first = ConvBlock(width, inner)
        self.second = ConvBlock(inner, width, activate=False)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class DetectorNet(nn.Module):
    """RGB picture in, raw class scores and distance distributions of every grid location out."""

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__()
        self.shape = shape
        self.stem = ConvBlock(3 * INPUT_BLOCK**2, shape.stem)
        stages = []
        inputs = shape.stem
        for stage, width in enumerate(shape.widths):
            body = [ResidualBlock(width, inner) for inner in shape.inner_widths(stage)]
            stages.append(nn.Sequential(ConvBlock(inputs, width, stride=2), *body))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.laterals = nn.ModuleList([ConvBlock(width, shape.pyramid, kernel=1) for width in shape.widths])
        # One tower a stride: batch normalisation must not mix the statistics of the levels.
        class_width, box_width = shape.tower_widths()
        self.class_towers = nn.ModuleList([ConvBlock(shape.pyramid, class_width) for _ in STRIDES])
        self.box_towers = nn.ModuleList([ConvBlock(shape.pyramid, box_width) for _ in STRIDES])
        self.class_head = nn.Conv2d(class_width, shape.classes, 1)
        self.box_head = nn.Conv2d(box_width, 4 * shape.bins, 1)
        for head, bias in ((self.class_head, BACKGROUND_LOGIT), (self.box_head, 0.0)):
            nn.init.normal_(head.weight, std=0.01)
            assert head.bias is not None
            nn.init.constant_(head.bias, bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs for pictures (B, 3, H, W) in 0..1, RGB; H and W multiples of 32.

        Returns class logits (B, L, classes) and distance-bin logits (B, L, 4 * bins): the locations of stride 8 row by
        row, then of 16, then of 32; sides in the order left, top, right, bottom.
        """
        return self.from_packed(pack_pixels(x, INPUT_BLOCK))

    def from_packed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As forward(), from packed pictures (B, 48, H/4, W/4) as pack_pixels() makes them."""
        return self.heads(self.features(x))

    def features(self, x: Tensor) -> list[Tensor]:
        """The pyramid, one map (B, pyramid, H/stride, W/stride) a stride, of packed pictures."""
        x = self.stem(x)
        features = []
        for stage, lateral in zip(self.stages, self.laterals):
            x = stage(x)
            features.append(lateral(x))
        for level in (1, 0):
            features[level] = features[level] + functional.interpolate(features[level + 1], scale_factor=2.0)
        return features

    def heads(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits and distance-bin logits, as forward(), of a pyramid."""
        scores = [self.class_head(tower(feature)) for tower, feature in zip(self.class_towers, features)]
        boxes = [self.box_head(tower(feature)) for tower, feature in zip(self.box_towers, features)]
        return location_rows(scores), location_rows(boxes)


def deepened(network: DetectorNet, blocks: tuple[int, int, int]) -> DetectorNet:
    """A network with more residual blocks at the end of its stages, which says exactly the same: they start as the
    identity. Raises ValueError where a stage would get fewer blocks than it has."""
    shape = network.shape
    if any(wanted < had for wanted, had in zip(blocks, shape.blocks)):
        raise ValueError(f"cannot take blocks out: {shape.blocks} to {blocks}")
    inner = tuple(
        shape.inner_widths(stage) + (shape.widths[stage],) * (blocks[stage] - shape.blocks[stage]) for stage in range(3)
    )
    grown = DetectorNet(replace(shape, blocks=blocks, inner=inner))
    grown.load_state_dict({**grown.state_dict(), **network.state_dict()})
    return grown


def location_rows(levels: list[Tensor]) -> Tensor:
    """Concatenate maps (B, C, H, W) of the strides to rows (B, L, C), in the order of grid_locations()."""
    # Numbers, not traced sizes: the exported graph then reshapes by constants.
    rows = [level.permute(0, 2, 3, 1).reshape(len(level), -1, int(level.shape[1])) for level in levels]
    return torch.cat(rows, dim=1)


class PackedDetector(nn.Module):
    """The graph that ships: packed uint8 pictures (B, H/4, W/4, 48), NHWC, in; DetectorNet's raw outputs out.

    The division by 255 is folded into the first convolution.
    """

    def __init__(self, network: DetectorNet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        with torch.no_grad():
            self.network.stem.conv.weight /= 255

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        scores, bins = self.network.from_packed(pixels.permute(0, 3, 1, 2).float())
        return scores, bins


def grid_locations(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Centres (L, 2) x y in pixels and strides (L,) of the locations of an input of the given size, in output order."""
    centres, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres).to(device), torch.cat(strides).to(device)


def distances(bin_logits: Tensor, bins: int) -> Tensor:
    """Expected side distances in strides: (..., 4 * bins) logits to (..., 4)."""
    logits = bin_logits.unflatten(-1, (4, bins))
    # A softmax over so short a dimension is slow on CPUs; two matrix products are not.
    weights = (logits - logits.amax(dim=-1, keepdim=True)).exp()
    position = torch.arange(bins, dtype=logits.dtype, device=logits.device)
    return (weights @ position) / (weights @ torch.ones_like(position))
