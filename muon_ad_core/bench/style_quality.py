# SPDX-License-Identifier: Apache-2.0
"""Stylise photographs in every style of an engine: likeness to the photograph, fine detail kept, time an image."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from muon_ad_core.bench.benchmark import Measurement, Picture

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
SIZE = (640, 480)
TIMED_RUNS = 5
TILE, COLUMNS = (256, 192), 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench quality``."""
    parser.add_argument("--engine", default="student", help="engine package: a name or a folder (default: student)")
    parser.add_argument("--level", default="", help="level of detail (default: the engine's first)")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 (safetensors), adds LPIPS and FID; needs PyTorch")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when the engine or the weights cannot be read."""
    import cv2
    import numpy as np

    from muon_ad_core.bench.benchmark import HIGHER, LOWER, NEITHER, Measurement, Series
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.metrics.distribution import FrechetScore
    from muon_ad_core.metrics.image import high_frequency_retention, psnr, ssim
    from muon_ad_core.metrics.running import RunningMean
    from muon_ad_core.sources.photographs import load_photograph
    from muon_ad_core.stylize import Stylizer

    folder = find_engine(args.engine)
    stylizer = Stylizer(EnginePackage.load(folder))
    if args.level:
        stylizer.set_level(args.level)
    originals = map(load_photograph, PHOTOGRAPHS)
    photographs = [
        np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA), np.uint8) for picture in originals
    ]
    running = {metric.__name__: RunningMean(metric) for metric in (ssim, psnr, high_frequency_retention)}
    fid = None
    if args.weights is not None:
        from muon_ad_core.metrics.perceptual import PerceptualNetwork

        network = PerceptualNetwork(args.weights)
        running[f"LPIPS[{network.name}]"] = RunningMean(lambda a, b: network.lpips(a[None], b[None]))
        fid = FrechetScore(network)
        for photograph in photographs:
            fid.add_reference(photograph[None])
    shown = [photographs[0]]
    for style in stylizer.style_names():
        stylizer.set_style(style)
        results = [stylizer.run(photograph).copy() for photograph in photographs]
        for result, photograph in zip(results, photographs):
            for mean in running.values():
                mean.add(result, photograph)
            if fid is not None:
                fid.add_generated(result[None])
        shown.append(results[0])
    times = _times(stylizer, photographs[0])
    summary: dict[str, Any] = {name: mean.mean for name, mean in running.items()}
    if fid is not None:
        summary[f"content_{fid.label}"] = fid.distance()
    summary["image_time_s"] = sorted(times)[len(times) // 2]
    summary["parameters"] = next(
        (level.get("parameters") for level in _levels(folder) if level["name"] == stylizer.level), None
    )
    better = {"ssim": HIGHER, "psnr": HIGHER, "high_frequency_retention": NEITHER}
    samples = {name: Series("", [mean.values], better.get(name, LOWER)) for name, mean in running.items()}
    config = {"engine": args.engine, "level": stylizer.level, "backend": stylizer.backend, "photographs": PHOTOGRAPHS}
    text = "\n".join(f"{name:32} {'-' if value is None else f'{value:.4g}'}" for name, value in summary.items())
    pictures = [_sheet(shown, stylizer.style_names())]
    return Measurement(config, {}, summary, text, [describe_input(folder)], samples, pictures=pictures)


def _times(stylizer: Any, photograph: NDArray[np.uint8]) -> list[float]:
    """Seconds for one image, after the runs before have warmed the engine up."""
    times = []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        stylizer.run(photograph)
        times.append(time.perf_counter() - began)
    return times


def _levels(folder: Path) -> list[dict[str, Any]]:
    import json

    levels: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["levels"]
    return levels


def _sheet(pictures: list[NDArray[np.uint8]], styles: list[str]) -> Picture:
    """One photograph in every style, a few in a row."""
    import cv2
    import numpy as np

    from muon_ad_core.bench.benchmark import Picture

    small: list[Any] = [cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA) for picture in pictures]
    small += [np.full_like(small[0], 255)] * (-len(small) % COLUMNS)
    rows = [np.hstack(small[first : first + COLUMNS]) for first in range(0, len(small), COLUMNS)]
    sheet = np.vstack(rows)[..., ::-1]
    jpeg = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return Picture(f"A photograph and what became of it, row by row: {', '.join(styles)}", jpeg)
