# SPDX-License-Identifier: Apache-2.0
"""Export of networks as ONNX graphs of plain operators (opset 17) that every runtime of the project reads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

OPSET = 17  # the newest that TensorRT 8.5, ONNX Runtime and OpenVINO all read


def export_onnx(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    output_names: list[str],
    path: Path,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Write `network` as a checked ONNX graph; dynamic_axes names axes of varying size, by input or output."""
    with warnings.catch_warnings():
        # The tracing exporter is the one that emits opset 17 without a lossy down-conversion.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), tuple(inputs.values()), str(path), opset_version=OPSET, dynamo=False,
            input_names=list(inputs), output_names=output_names, dynamic_axes=dict(dynamic_axes or {}),
        )  # fmt: skip
    onnx.checker.check_model(str(path), full_check=True)


def count_macs(network: nn.Module, inputs: Mapping[str, Tensor]) -> int:
    """Multiply-accumulates of the convolutions and linear layers in one pass over `inputs`."""
    total = 0

    def hook(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    handles = [module.register_forward_hook(hook) for module in network.modules()]
    try:
        with torch.no_grad():
            network.eval()(*inputs.values())
    finally:
        for handle in handles:
            handle.remove()
    return total
