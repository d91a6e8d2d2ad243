# SPDX-License-Identifier: Apache-2.0
"""Stylise photographs in every style of an engine: likeness to the photograph, fine detail kept, time an image.

With --styles, the pictures of the styles, and --weights also how near the result is to the style, how much of the
photograph is left, the mesh in it, and flicker before a slowly moving camera, beside Johnson networks (--johnson),
the palette alone, and the optimiser's own result (--references). See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.bench.engine import read_size
from muon_ad_core.errors import ParameterError
from muon_ad_core.metrics.mesh import WINDOW

if TYPE_CHECKING:
    from muon_ad_core.bench.benchmark import Measurement, Picture
    from muon_ad_core.bench.style_contenders import Pixels
    from muon_ad_core.metrics.perceptual import PerceptualNetwork
    from muon_ad_core.stylize import Stylizer

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
TIMED_RUNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench quality``."""
    from muon_ad_core.smoothing import USUAL_SHARE

    parser.add_argument("--engine", default="student", help="engine package: a name or a folder (default: student)")
    parser.add_argument("--level", default="", help="level of what is timed and compared with the photograph alone")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 (safetensors), adds LPIPS and FID; needs PyTorch")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs (default: scikit-image's)")
    parser.add_argument("--count", type=int, default=4, help="most photographs taken (default: %(default)s)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="size they are painted at (default: 640x480)")
    parser.add_argument("--styles", type=Path, metavar="FOLDER", help="pictures of the engine's styles, by their names")
    parser.add_argument("--unseen", type=Path, metavar="FOLDER", help="pictures that are no style of the training")
    parser.add_argument(
        "--refine", type=float, default=0.0, metavar="SECONDS", help="refine each of --unseen for so long, too"
    )
    parser.add_argument("--johnson", type=Path, metavar="FOLDER", help="what muon-ad train johnson wrote")
    parser.add_argument("--frames", type=int, default=10, help="frames of each moving picture (default: %(default)s)")
    parser.add_argument("--smoothing", type=float, default=USUAL_SHARE, metavar="SHARE",
                        help="of the previous frame kept in smoothed sequences (default: %(default)s)")  # fmt: skip
    parser.add_argument("--clip", type=Path, metavar="FOLDER", help="RGB-D frames as 7-Scenes' to measure flicker on")
    parser.add_argument(
        "--references", type=int, default=0, metavar="PAIRS", help="photographs in styles to optimise directly, too"
    )
    parser.add_argument("--teacher", help="optimise the same by this teacher's attentions, as muon-ad synthesize does")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="write the sheets as files, too")


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when the engine, pictures or weights cannot be read."""
    from muon_ad_core.bench.benchmark import HIGHER, LOWER, NEITHER, Measurement, Series
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.picture_pairs import evenly_chosen, named_pictures
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.stylize import Stylizer

    _check(args)
    size = read_size(args.size)
    package = EnginePackage.load(find_engine(args.engine))
    stylizer = Stylizer(package)
    shipped = [style["name"] for style in package.manifest["styles"]]
    chosen = evenly_chosen(named_pictures(args.photos, PHOTOGRAPHS), args.count)
    photographs = [(name, resized(picture, size)) for name, picture in chosen]
    network = _network(args.weights)
    values, summary, pictures = _likeness(stylizer, args.level, shipped, [p for _, p in photographs], network)
    level = next(level for level in package.levels if level.name == stylizer.level)
    summary |= {"image_time_s": _median_time(stylizer, photographs[0][1]), "parameters": level.parameters}
    config = {"engine": package.name, "version": package.version, "level": stylizer.level, "size": args.size,
              "backend": stylizer.backend, "photographs": [name for name, _ in photographs]}  # fmt: skip
    text = [f"{name:32} {'-' if value is None else f'{value:.4g}'}" for name, value in summary.items()]
    results: dict[str, Any] = {}
    if args.styles is not None and network is not None:
        from muon_ad_core.bench.style_comparison import compare

        judged = compare(args, stylizer, shipped, photographs, network)
        results, text = judged.results, [*text, "", *judged.text]
        summary, pictures = {**summary, **judged.summary}, [*pictures, *judged.sheets]
        values |= judged.samples
    if args.sheets is not None:
        _write(args.sheets, pictures)
    better = {"ssim": HIGHER, "psnr": HIGHER, "high_frequency_retention": NEITHER}
    samples = {name: Series("", [each], better.get(name, LOWER)) for name, each in values.items()}
    folders = (args.photos, args.styles, args.unseen, args.johnson, args.clip)
    inputs = [describe_input(folder) for folder in (package.root, *folders) if folder is not None]
    return Measurement(config, results, summary, "\n".join(text), inputs, samples, pictures=pictures)


def _likeness(
    stylizer: Stylizer, level: str, styles: Sequence[str], photographs: list[Pixels], network: PerceptualNetwork | None
) -> tuple[dict[str, list[float]], dict[str, Any], list[Picture]]:
    """Values by metric, their means, and a sheet: every photograph in every style beside itself."""
    from muon_ad_core.bench.style_sheets import grid
    from muon_ad_core.metrics.distribution import FrechetScore
    from muon_ad_core.metrics.image import high_frequency_retention, psnr, ssim
    from muon_ad_core.metrics.running import RunningMean

    if level:
        stylizer.set_level(level)
    running = {metric.__name__: RunningMean(metric) for metric in (ssim, psnr, high_frequency_retention)}
    fid = None
    if network is not None:
        running[f"LPIPS[{network.name}]"] = RunningMean(lambda a, b: network.lpips(a[None], b[None]))
        fid = FrechetScore(network)
        for photograph in photographs:
            fid.add_reference(photograph[None])
    shown = [photographs[0]]
    for style in styles:
        stylizer.set_style(style)
        results = [stylizer.run(photograph).copy() for photograph in photographs]
        for result, photograph in zip(results, photographs):
            for mean in running.values():
                mean.add(result, photograph)
            if fid is not None:
                fid.add_generated(result[None])
        shown.append(results[0])
    summary: dict[str, Any] = {name: mean.mean for name, mean in running.items()}
    if fid is not None and len(photographs) > 1:
        summary[f"content_{fid.label}"] = fid.distance()
    return {name: mean.values for name, mean in running.items()}, summary, [grid(shown, styles)]


def _median_time(stylizer: Stylizer, photograph: Pixels) -> float:
    """Seconds for one image, after the runs before have warmed the engine up."""
    times = []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        stylizer.run(photograph)
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def _check(args: argparse.Namespace) -> None:
    if args.count < 1 or args.frames < 2 or args.references < 0 or args.refine < 0:
        raise ParameterError("--count must be at least 1, --frames at least 2, --references and --refine not negative")
    if not 0 <= args.smoothing <= 1:
        raise ParameterError(f"--smoothing must be from 0 to 1, not {args.smoothing:g}")
    if args.styles is not None and args.weights is None:
        raise ParameterError("--styles needs --weights, which tell how much of a photograph is left")
    if args.styles is not None and min(read_size(args.size)) < WINDOW:
        raise ParameterError(f"--size must be at least {WINDOW}x{WINDOW} with --styles, not {args.size}")
    if args.styles is None:
        given = [name for name in ("unseen", "johnson", "clip", "references", "teacher") if getattr(args, name)]
        if given:
            raise ParameterError(f"--{given[0]} needs --styles, the pictures of the engine's styles")


def _network(weights: Path | None) -> PerceptualNetwork | None:
    if weights is None:
        return None
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

    return PerceptualNetwork(weights)


def resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of a picture, of the shape that `size` (width, height) has, at that size."""
    import cv2
    import numpy as np

    factor = min(picture.shape[1] / size[0], picture.shape[0] / size[1])
    width, height = round(size[0] * factor), round(size[1] * factor)
    row, column = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    middle = picture[row : row + height, column : column + width]
    return np.asarray(cv2.resize(middle, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(folder: Path, pictures: Sequence[Picture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        (folder / f"sheet_{number}.jpg").write_bytes(picture.jpeg)
