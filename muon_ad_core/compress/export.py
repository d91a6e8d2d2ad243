# SPDX-License-Identifier: Apache-2.0
"""Export of networks as ONNX graphs of plain operators (opset 17) that every runtime of the project reads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.onnx.symbolic_helper import parse_args

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
        torch.onnx.register_custom_op_symbolic("aten::pad", _pad, OPSET)
        torch.onnx.export(
            network.eval(), tuple(inputs.values()), str(path), opset_version=OPSET, dynamo=False,
            input_names=list(inputs), output_names=output_names, dynamic_axes=dict(dynamic_axes or {}),
        )  # fmt: skip
    onnx.checker.check_model(str(path), full_check=True)


@parse_args("v", "is", "s", "v")
def _pad(graph: Any, features: Any, padding: list[int], mode: str, value: Any) -> Any:
    """Padding of planes by what they hold, as one operator: PyTorch writes twenty that compute its constant sizes."""
    left, right, top, bottom = padding
    sizes = graph.op("Constant", value_t=torch.tensor([0, 0, top, left, 0, 0, bottom, right]))
    return graph.op("Pad", features, sizes, mode_s={"replicate": "edge", "reflect": "reflect"}[mode])


def count_macs(network: nn.Module, inputs: Mapping[str, Tensor]) -> int:
    """Multiply-accumulates of the convolutions and linear layers in one pass over `inputs`."""
    return sum(layer_macs(network, *inputs.values()).values())


def layer_macs(network: nn.Module, *inputs: Tensor) -> dict[str, int]:
    """Multiply-accumulates of each convolution and linear layer, by name, in one pass over `inputs`."""
    totals: dict[str, int] = {}

    def counter(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            if isinstance(module, nn.Conv2d):
                each = module.weight[0].numel()
            else:
                assert isinstance(module, nn.Linear)
                each = module.in_features
            totals[name] = totals.get(name, 0) + output.numel() * each

        return count

    handles = [
        module.register_forward_hook(counter(name))
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return totals
