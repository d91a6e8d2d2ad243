# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: which convolutions stay in floating point, because INT8 harms them most for the time it saves.

Each convolution is made INT8 alone once, and the loss of fidelity measured on real frames (sensitivity; Wu et al.,
"Integer quantization for deep learning inference", 2020). Those that lose most per multiply-accumulate become floating
point again, one by one, until the whole graph is as faithful as wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from muon_ad_core.compress.quantise import CalibratedGraph

Judge = Callable[[Path], float]
"""Fidelity of a graph to the float one, 1 for the same."""


@dataclass(frozen=True)
class PrecisionPlan:
    """kept: convolutions in floating point, the most sensitive one first; losses: fidelity that each loses as the only
    INT8 one; fidelity: of the whole graph by this plan."""

    kept: tuple[str, ...]
    losses: Mapping[str, float]
    fidelity: float


def plan_precision(
    graph: CalibratedGraph, judge: Judge, work: Mapping[str, int], goal: float, folder: Path
) -> PrecisionPlan:
    """Keep few convolutions in floating point for a fidelity of `goal`, chosen one by one.

    work: multiply-accumulates of each convolution; folder: for graphs that are only looked at. A goal that floating
    point alone would reach keeps all convolutions.
    """
    tried = folder / "tried.onnx"

    def fidelity(chosen: list[str]) -> float:
        graph.write(tried, chosen)
        return judge(tried)

    names = list(graph.convolutions)
    found = fidelity(names)
    if found >= goal:
        return PrecisionPlan((), {}, found)
    losses = {name: 1 - fidelity([name]) for name in names}
    order = sorted(names, key=lambda name: losses[name] / work[name], reverse=True)
    kept: list[str] = []
    while found < goal and len(kept) < len(names):
        kept.append(order[len(kept)])
        found = fidelity([name for name in names if name not in kept])
    return PrecisionPlan(tuple(kept), losses, found)


def convolution_work(source: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Multiply-accumulates of each convolution of a graph, by name, for inputs of these shapes."""
    model = onnx.load(str(source))
    for value in model.graph.input:
        for dimension, side in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dimension.ClearField("dim_param")
            dimension.dim_value = side
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.value_info, *inferred.output]
    sides = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in values}
    weights = {value.name: list(value.dims) for value in inferred.initializer}
    work = {}
    for node in inferred.node:
        if node.op_type == "Conv":
            batch, channels, rows, columns = sides[node.output[0]]
            _, inputs, *kernel = weights[node.input[1]]
            work[node.name] = batch * channels * rows * columns * inputs * kernel[0] * kernel[1]
    return work
