# SPDX-License-Identifier: Apache-2.0
"""Graphs executed by ONNX Runtime on the CPU: the small fallback, and the default where OpenVINO does not lead."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.errors import EngineError


class OnnxRuntimeGraph(Graph):
    """One ONNX graph in one session; shapes may change from run to run."""

    backend = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        # Idle threads that spin would take a core from the other nodes between frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises several unrelated classes of its own
            reason = str(error).splitlines()[0]
            raise EngineError(f"{path} cannot be read as a graph ({reason}): copy the engine again") from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {
            entry.name: tuple(side if isinstance(side, int) else 0 for side in entry.shape)
            for entry in self._session.get_inputs()
        }

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))
