# SPDX-License-Identifier: Apache-2.0
"""Networks of others as graphs from a uint8 frame to a uint8 frame, in floating point and INT8."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from muon_ad_core.compress.export import export_onnx
from muon_ad_core.compress.quantise import quantise
from muon_ad_core.nets.peers import FrameNetwork

EXAMPLE_SHAPE = (1, 128, 160, 3)
FLOAT, INT8 = ".float.onnx", ".int8.onnx"
"""Ends of the names of both graphs."""


def export_frame_network(network: nn.Module, stem: Path, frames: Iterable[np.ndarray]) -> tuple[Path, Path]:
    """Write STEM.float.onnx and STEM.int8.onnx of a network from pictures (B, 3, H, W) in 0..255 to the same.

    frames: uint8 (1, H, W, 3), all of one size, whose activations set the ranges of INT8. Returns both files.
    """
    sizes = {1: "rows", 2: "columns"}
    floating, int8 = (stem.with_name(stem.name + suffix) for suffix in (FLOAT, INT8))
    example = {"frame": torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8)}
    export_onnx(FrameNetwork(network), example, ["painted"], floating, {"frame": sizes, "painted": sizes})
    quantise(floating, int8, ({"frame": np.ascontiguousarray(frame)} for frame in frames))
    return floating, int8
