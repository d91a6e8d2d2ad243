# SPDX-License-Identifier: Apache-2.0
"""Graphs of ncnn's own format on the CPU, for detectors that are published in no other (pip install ncnn)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import ncnn
import numpy as np

from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.errors import EngineError


class NcnnGraph(Graph):
    """One network. ncnn knows no batches: the batch of one is taken off its inputs and put on its outputs."""

    backend = "ncnn"

    def __init__(self, path: Path, threads: int) -> None:
        """path: the .param file; the weights lie beside it under its name with .bin."""
        weights = path.with_suffix(".bin")
        self._network = ncnn.Net()
        self._network.opt.num_threads = threads or len(os.sched_getaffinity(0))
        if not weights.is_file():
            raise EngineError(f"{weights} is missing: ncnn's .param and .bin belong together, under one name")
        if self._network.load_param(str(path)) or self._network.load_model(str(weights)):
            raise EngineError(f"{path} cannot be read as a graph with {weights.name}: copy both again")
        self._outputs = list(self._network.output_names())

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: () for name in self._network.input_names()}

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        extractor = self._network.create_extractor()
        for name, array in inputs.items():
            picture = np.ascontiguousarray(array[0])
            # A copy that ncnn owns: layers that work in place must not write to ours (ncnn crashes when one would).
            if extractor.input(name, ncnn.Mat(picture).clone()):
                raise EngineError(f"the graph has no input '{name}', only {', '.join(self.input_shapes)}")
        results = {}
        for name in self._outputs:
            failed, output = extractor.extract(name)
            if failed:
                raise EngineError(f"the graph does not take inputs of { {k: v.shape for k, v in inputs.items()} }")
            results[name] = np.array(output)[None]
        return results
