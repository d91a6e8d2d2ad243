# SPDX-License-Identifier: Apache-2.0
"""How long students of different sizes take for a frame, measured in the runtime that will run them."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from muon_ad_core.compress.quantise import quantise
from muon_ad_core.distill.student_graphs import PACKED_VGA, export_float_level
from muon_ad_core.engine.runtime import open_graph
from muon_ad_core.nets.student import Student, StudentConfig

RUNS, WARM_UPS = 15, 3
CALIBRATION_SHAPE = (1, 16, 16, PACKED_VGA[-1])


class MeasuredLatency:
    """Milliseconds, the least of some runs, of a 640x480 frame in INT8 at level fine.

    Weights are random, as speed does not depend on them. file: keeps what was measured, for a run that goes on later.
    Blocks in another order take the same time.
    """

    def __init__(self, file: Path, threads: int) -> None:
        self._file, self._threads = file, threads
        self._known: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def __call__(self, config: StudentConfig) -> float:
        key = f"{config.width}: {' '.join(map(str, sorted(config.inner_widths)))}"
        if key not in self._known:
            self._known[key] = self._measure(config)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
        return self._known[key]

    def _measure(self, config: StudentConfig) -> float:
        random = np.random.default_rng(0)
        code = np.zeros((1, config.code), np.float32)
        frames = ({"pixels": random.integers(0, 256, CALIBRATION_SHAPE, np.uint8), "code": code} for _ in range(2))
        with tempfile.TemporaryDirectory() as folder:
            floating, int8 = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            export_float_level(Student(config).eval(), "fine", floating)
            quantise(floating, int8, frames)
            graph = open_graph(int8, "auto", self._threads, of_pictures=True)
            inputs = {"pixels": random.integers(0, 256, PACKED_VGA, np.uint8), "code": code}
            times = []
            for _ in range(WARM_UPS + RUNS):
                began = time.perf_counter()
                graph.run(inputs)
                times.append(1e3 * (time.perf_counter() - began))
        return min(times[WARM_UPS:])  # the training, and others, load the machine meanwhile
