# SPDX-License-Identifier: Apache-2.0
"""The student as it is exported: packed uint8 NHWC pictures in and out, layers in the form that runs fastest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from muon_ad_core.nets.phases import CELL, convolve_packed, upsample_then_convolve
from muon_ad_core.nets.student import OUTPUT_BLOCK, FiLM, Level, Student, unpack_pixels

PACKED_BLOCK = 4
"""Pixels along one side of the blocks at the input and at the output, of either level."""


class PackedStudent(nn.Module):
    """One level: uint8 (B, h, w, 48) and codes (B, code) -> uint8 (B, h, w, 48), h and w even.

    Computes what `Student` does. Shuffles of pixels stay outside the graph, where a strided copy does them; upsampling
    is part of the convolution after it; what works at half resolution works on packed pixels at a quarter.
    """

    def __init__(self, student: Student, level: Level) -> None:
        super().__init__()
        self.student = student
        self.up_quarter = upsample_then_convolve(student.up_quarter)
        self.painter: nn.Module = FinePainter(student) if level == "fine" else FastPainter(student)

    def forward(self, pixels: Tensor, code: Tensor) -> Tensor:
        student = self.student
        skip = F.relu(student.stem(pixels.to(torch.float32).permute(0, 3, 1, 2) * (1 / 127.5) - 1))
        features = student.eighth_features(skip, code)
        features = _DepthToSpace.apply(self.up_quarter(features)) + skip
        painted = self.painter(F.relu(student.quarter_modulation(features, code)), code) * 127.5 + 127.5
        return painted.clamp(0, 255).round().permute(0, 2, 3, 1).to(torch.uint8)


class FastPainter(nn.Module):
    """From features at 1/4 resolution to packed pixels (B, 48, h, w), in one convolution."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.head = student.fast_head

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        return self.head(features)


class FinePainter(nn.Module):
    """The same through the student's layers at 1/2 resolution, on packed pixels."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.up_half = upsample_then_convolve(student.up_half)
        with torch.no_grad():
            self.up_half.weight[:, :, 1:2, 1:2] += student.up_detail.weight
        self.modulation = _repeated(student.half_modulation)
        self.first = convolve_packed(student.half_block.first)
        self.block_modulation = _repeated(student.half_block.modulation)
        self.second = convolve_packed(student.half_block.second)
        self.head = _in_order_of_blocks(convolve_packed(student.fine_head), OUTPUT_BLOCK["fine"])

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        features = F.relu(self.modulation(self.up_half(features), code))
        hidden = F.relu(self.block_modulation(self.first(features), code))
        return self.head(F.relu(features + self.second(hidden)))


class _DepthToSpace(torch.autograd.Function):
    """`unpack_pixels` by cells of 2, exported as one operator."""

    @staticmethod
    def forward(context: Any, packed: Tensor) -> Tensor:
        return unpack_pixels(packed, CELL)

    @staticmethod
    def symbolic(graph: Any, packed: Any) -> Any:
        return graph.op("DepthToSpace", packed, blocksize_i=CELL, mode_s="DCR")


def _repeated(film: FiLM) -> FiLM:
    """The modulation for packed features: every pixel of a cell gets the same."""
    code, channels = film.linear.in_features, film.linear.out_features // 2
    packed = FiLM(code, CELL**2 * channels)
    with torch.no_grad():
        packed.linear.weight.copy_(film.linear.weight.view(2, channels, code).repeat(1, CELL**2, 1).flatten(0, 1))
        packed.linear.bias.copy_(film.linear.bias.view(2, channels).repeat(1, CELL**2).flatten())
    return packed


def _in_order_of_blocks(convolution: nn.Conv2d, block: int) -> nn.Conv2d:
    """Outputs that are cells of blocks (row and column in the cell, then in the block), as one larger block."""
    order = torch.arange(convolution.out_channels).view(CELL, CELL, block, block, -1).transpose(1, 2).flatten()
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight[order])
        if convolution.bias is not None:
            convolution.bias.copy_(convolution.bias[order])
    return convolution
