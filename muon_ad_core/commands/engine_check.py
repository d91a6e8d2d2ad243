# SPDX-License-Identifier: Apache-2.0
"""Verify an engine package: manifest and check sums, and that every runtime here computes the same from a photograph.

Exits with 1 when a runtime fails or differs.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from muon_ad_core.errors import EngineError

if TYPE_CHECKING:
    import numpy as np

    from muon_ad_core.engine.package import EnginePackage

PHOTOGRAPH = "astronaut.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad engine check``."""
    parser.add_argument("engine", help="folder or name of a package")


def run(args: argparse.Namespace) -> int:
    """Check; returns 0, or 1 when a runtime fails or differs. Raises EngineError for a damaged package."""
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.engine.runtime import NCNN_SUFFIX, available_backends
    from muon_ad_core.engine.self_check import MOST_DIFFERENCE, relative_difference

    package = EnginePackage.load(find_engine(args.engine))
    print(f"{package.name} {package.version}: manifest and {len(package.manifest['files'])} files as they should be")
    good = True
    for level in package.levels:
        backends = ["ncnn"] if level.graph.endswith(NCNN_SUFFIX) else available_backends()
        reference = None
        for backend in backends:
            try:
                answer = _answer(package, level.name, backend)
            except EngineError as error:
                good = False
                print(f"{level.name:12} {backend:12} FAILED: {error}")
                continue
            if reference is None:
                reference = answer
                print(f"{level.name:12} {backend:12} runs")
                continue
            difference = relative_difference(reference, answer)
            same = difference <= MOST_DIFFERENCE
            good = good and same
            print(f"{level.name:12} {backend:12} {'agrees' if same else 'DIFFERS'} (by {100 * difference:.2f} %)")
    return 0 if good else 1


def _answer(package: EnginePackage, level: str, backend: str) -> np.ndarray:
    """What the level computes from the photograph, as one vector."""
    import numpy as np

    from muon_ad_core.detect.detector import Detector
    from muon_ad_core.sources.photographs import load_photograph
    from muon_ad_core.stylize import Stylizer

    photograph = load_photograph(PHOTOGRAPH)
    if package.task == "detection":
        detector = Detector(package, backend, level=level)
        detector.run(photograph)
        return np.concatenate([np.ravel(value).astype(np.float32) for value in detector.infer(photograph).values()])
    stylizer = Stylizer(package, backend)
    stylizer.set_level(level)
    return stylizer.run(photograph).astype(np.float32).ravel()
