# SPDX-License-Identifier: Apache-2.0
"""The ONNX operators that this project's engines consist of, in PyTorch (opset 17, the attributes they use)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as functional

from muon_ad_core.errors import EngineError

Tensor = torch.Tensor
Inputs = Sequence[Any]
Attributes = Mapping[str, Any]

# ONNX's numbers of element types
ELEMENT_TYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64, 10: torch.float16}


def _quantise(inputs: Inputs, attributes: Attributes) -> Tensor:
    value, scale, zero = inputs
    limits = torch.iinfo(zero.dtype)
    levels = torch.round(value / scale) + zero.to(value.dtype)
    return levels.clamp(limits.min, limits.max)  # left as floating point, which the convolution takes anyway


def _dequantise(inputs: Inputs, attributes: Attributes) -> Tensor:
    value, scale, zero = inputs
    if scale.numel() > 1:
        shape = [1] * value.ndim
        shape[attributes.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (value.to(torch.float32) - zero.to(torch.float32)) * scale


def _convolve(inputs: Inputs, attributes: Attributes) -> Tensor:
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    bias = inputs[2] if len(inputs) > 2 else None
    if (top, left) != (bottom, right):
        raise EngineError("backend torch cannot pad a convolution unequally: take another backend for this graph.")
    return functional.conv2d(
        inputs[0],
        inputs[1],
        bias,
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=(top, left),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    first = inputs[0].T if attributes.get("transA") else inputs[0]
    second = inputs[1].T if attributes.get("transB") else inputs[1]
    product = attributes.get("alpha", 1.0) * (first @ second)
    return product + attributes.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _slice(inputs: Inputs, attributes: Attributes) -> Tensor:
    value = inputs[0]
    starts, ends = inputs[1].tolist(), inputs[2].tolist()
    axes = inputs[3].tolist() if len(inputs) > 3 else list(range(len(starts)))
    steps = inputs[4].tolist() if len(inputs) > 4 else [1] * len(starts)
    places: list[slice] = [slice(None)] * value.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps):
        places[axis] = slice(start, end, step)
    return value[tuple(places)]


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> Tensor:
    value = inputs[0]
    for axis in sorted(inputs[1].tolist()):
        value = value.unsqueeze(axis)
    return value


def _resize(inputs: Inputs, attributes: Attributes) -> Tensor:
    mode = (attributes.get("mode"), attributes.get("coordinate_transformation_mode"), attributes.get("nearest_mode"))
    if mode != (b"nearest", b"asymmetric", b"floor"):
        raise EngineError(f"backend torch cannot resize by {mode}: take another backend for this graph.")
    if len(inputs) > 3 and inputs[3] is not None:
        return functional.interpolate(inputs[0], size=inputs[3].tolist()[2:], mode="nearest")
    return functional.interpolate(inputs[0], scale_factor=inputs[2].tolist()[2:], mode="nearest")


def _depth_to_space(inputs: Inputs, attributes: Attributes) -> Tensor:
    if attributes.get("mode", b"DCR") != b"DCR":
        raise EngineError("backend torch cannot rearrange columns before depth: take another backend for this graph.")
    block = attributes["blocksize"]
    batch, channels, height, width = inputs[0].shape
    cells = inputs[0].reshape(batch, block, block, channels // block**2, height, width)
    return cells.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


def _pad(inputs: Inputs, attributes: Attributes) -> Tensor:
    mode = {b"edge": "replicate", b"reflect": "reflect"}.get(attributes.get("mode", b"constant"))
    value, pads = inputs[0], inputs[1].reshape(2, -1).T.tolist()
    axes = [axis for axis, around in enumerate(pads) if any(around)]
    if mode is None or value.ndim != 4 or len(axes) > 2:
        raise EngineError("backend torch pads planes by what they hold alone: take another backend for this graph.")
    order = [axis for axis in range(4) if axis not in axes] + axes
    (top, bottom), (left, right) = (pads[axis] for axis in order[2:])
    padded = functional.pad(value.permute(order), (left, right, top, bottom), mode)
    return padded.permute([order.index(axis) for axis in range(4)])


def _reshape(inputs: Inputs, attributes: Attributes) -> Tensor:
    value, shape = inputs[0], inputs[1].tolist()
    return value.reshape([value.shape[index] if size == 0 else size for index, size in enumerate(shape)])


def _reduce_mean(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].mean(dim=tuple(attributes["axes"]), keepdim=bool(attributes.get("keepdims", 1)))


def _clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    low, high = (inputs[index] if len(inputs) > index else None for index in (1, 2))
    return torch.clamp(inputs[0], min=low, max=high)


def _cast(inputs: Inputs, attributes: Attributes) -> Tensor:
    return inputs[0].to(ELEMENT_TYPES[attributes["to"]])


OPERATORS: dict[str, Callable[[Inputs, Attributes], Tensor]] = {
    "Add": lambda inputs, attributes: inputs[0] + inputs[1],
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda inputs, attributes: torch.cat(list(inputs), dim=attributes["axis"]),
    "Conv": _convolve,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantise,
    "Gemm": _gemm,
    "Identity": lambda inputs, attributes: inputs[0],
    "Mul": lambda inputs, attributes: inputs[0] * inputs[1],
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "ReduceMean": _reduce_mean,
    "Relu": lambda inputs, attributes: torch.relu(inputs[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": lambda inputs, attributes: torch.round(inputs[0]),
    "Shape": lambda inputs, attributes: torch.tensor(inputs[0].shape, dtype=torch.int64),
    "Slice": _slice,
    "Sqrt": lambda inputs, attributes: torch.sqrt(inputs[0]),
    "Sub": lambda inputs, attributes: inputs[0] - inputs[1],
    "Transpose": lambda inputs, attributes: inputs[0].permute(attributes["perm"]),
    "Unsqueeze": _unsqueeze,
}
