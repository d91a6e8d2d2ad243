# SPDX-License-Identifier: Apache-2.0
"""The self-check of a graph when it is loaded: a small stored input must give the stored output.

It finds what a user would only see as wrong pictures: a library that was built for another processor, a broken
driver. Where a runtime compiles for every size, which takes longer than the check, a passed one is remembered for this
graph, library and processor.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from muon_ad_core.engine.compiled_cache import CompiledCache
from muon_ad_core.engine.package import EnginePackage, Level
from muon_ad_core.engine.runtime import Arrays, Graph
from muon_ad_core.errors import EngineError

REFERENCE_FILE = "reference.safetensors"
"""Inputs by name, and outputs as LEVEL/NAME, computed by ONNX Runtime when the engine was exported."""
REFERENCE_SIDE = 64
"""Pixels along a side of the input."""
MOST_DIFFERENCE = 0.1
"""Mean absolute difference, as a share of the reference's standard deviation, that rounding in INT8 explains.

Libraries and processors round differently between layers: on an AMD Zen 4, OpenVINO and ONNX Runtime are .03 (level
fast) and .06 (fine) apart, and each is as far (.03, .08) from the float network. Of INT8 that overflowed, level fast
was .13 off; other wrong results are some tenths off and more.
"""


def check_graph(package: EnginePackage, level: Level, graph: Graph) -> None:
    """Compute the package's stored example with `graph`; nothing happens when the package has none.

    Raises EngineError when the result is not the stored one.
    """
    if REFERENCE_FILE not in package.manifest["files"]:
        return
    path = package.path(REFERENCE_FILE)
    passed = package.manifest["files"][REFERENCE_FILE].encode()
    remembered = CompiledCache(package.path(level.graph), f"self-check {graph.identity}") if graph.identity else None
    if remembered is not None and remembered.read(level.name) == passed:
        return
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise EngineError(f"{path} cannot be read ({error}): export the engine again") from None
    expected = {name.partition("/")[2]: array for name, array in stored.items() if name.startswith(f"{level.name}/")}
    if not expected:
        return
    found = graph.run({name: array for name, array in stored.items() if "/" not in name})
    wrong = max(relative_difference(array, found.get(name)) for name, array in expected.items())
    if not wrong <= MOST_DIFFERENCE:  # NaN is wrong, too
        raise EngineError(
            f"backend {graph.backend} computes level {level.name} of {package.name} wrongly on this machine "
            f"(its result is {wrong:.0%} off the stored one): choose another backend, or update the library"
        )
    if remembered is not None:
        remembered.write(level.name, passed)


def relative_difference(expected: np.ndarray, found: np.ndarray | None) -> float:
    """Mean absolute difference as a share of the standard deviation of `expected`; infinite for another shape."""
    if found is None or found.shape != expected.shape:
        return float("inf")
    difference = np.abs(found.astype(np.float32) - expected).mean()
    return float(difference / max(float(expected.std()), 1e-9))


def reference_picture() -> np.ndarray:
    """The input to compute, uint8 (H, W, 3): soft spots of random colour with some noise; all that a picture has, and
    nobody's picture."""
    random = np.random.default_rng(0)
    spots = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = cv2.resize(spots, (REFERENCE_SIDE, REFERENCE_SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def reference_of(graphs: Mapping[str, Graph], inputs: Arrays) -> dict[str, np.ndarray]:
    """What REFERENCE_FILE holds for these inputs: them, and what the graph of each level makes of them."""
    stored = dict(inputs)
    for level, graph in graphs.items():
        stored |= {f"{level}/{name}": array.copy() for name, array in graph.run(inputs).items()}
    return stored
