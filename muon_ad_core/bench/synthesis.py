# SPDX-License-Identifier: Apache-2.0
"""Paint photographs in styles by a teacher, by the same network untrained, and by what both must beat.

Every method is tried at up to three strengths on every pair, and compared at equal content: the style distance it
reaches while the photograph is changed no more than by the teacher's picture of middle strength. The distances: patch
sliced Wasserstein, the style distance of the detector that ships, which nothing that paints has learned from, and with
--weights that of SqueezeNet, whose features the teacher's perception was trained to have. Direct optimisation of
SqueezeNet's features is the reference, which wins its own metric. See docs/synthesize.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from muon_ad_core.bench.benchmark import Measurement, Picture
    from muon_ad_core.bench.kept_pairs import KeptPairs
    from muon_ad_core.bench.picture_pairs import NamedPicture
    from muon_ad_core.bench.synthesis_figures import Painted, PairResult
    from muon_ad_core.bench.synthesis_methods import Method
    from muon_ad_core.distill.teachers.base import Teacher
    from muon_ad_core.metrics.detector_style import DetectorStyle
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

OURS = "teacher"
QUICK_PAIRS = 3
SHEET_ROWS = 8
QUALITY = 92


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench synthesis``."""
    parser.add_argument("--teacher", default="teacher", help="as for muon-ad synthesize (default: the built-in one)")
    parser.add_argument("--contents", type=Path, metavar="FOLDER", help="photographs (default: scikit-image's)")
    parser.add_argument("--styles", type=Path, metavar="FOLDER", help="styles (default: pictures of scikit-image)")
    parser.add_argument("--photos", type=int, default=20, help="most photographs taken (default: %(default)s)")
    parser.add_argument("--paintings", type=int, default=10, help="most styles taken (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=0, help="most pairs of them (default: all)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_PAIRS} pairs and one control, a look")
    parser.add_argument("--controls", type=int, default=3, help="seeds of the untrained network (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=64, help="steps of each synthesis (default: %(default)s)")
    parser.add_argument("--patch-weight", type=float, metavar="WEIGHT",
                        help="as for muon-ad synthesize")  # fmt: skip
    parser.add_argument("--distribution-weight", type=float, metavar="WEIGHT", help="likewise")
    parser.add_argument("--perception-weight", type=float, metavar="WEIGHT", help="likewise; "
                        "with all three 0 it shows what the attentions do alone")  # fmt: skip
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 (safetensors): adds style distance, LPIPS for "
                        "SSIM, and the reference")  # fmt: skip
    parser.add_argument("--sheet", type=Path, metavar="PICTURE", help="write the contact sheet, too")
    parser.add_argument("--run", type=Path, metavar="FOLDER", dest="run_folder", help="keep every pair's figures "
                        "there: the same command goes on where it stopped, also for more pairs")  # fmt: skip


def measure(args: argparse.Namespace) -> Measurement:
    """Measure; raises a UserError when pictures, teacher or weights cannot be read."""
    from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.kept_pairs import KeptPairs
    from muon_ad_core.bench.picture_pairs import CONTENTS, STYLES, evenly_chosen, mixed_pairs, named_pictures
    from muon_ad_core.bench.synthesis_figures import at_equal_content, summarise, table
    from muon_ad_core.distill.picture_files import check_writable, write_rgb
    from muon_ad_core.distill.teachers.loader import load_teacher
    from muon_ad_core.metrics.detector_style import DetectorStyle
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

    for name in ("photos", "paintings", "size", "steps"):
        if getattr(args, name) < 1:
            raise ParameterError(f"--{name} must be at least 1")
    if args.pairs < 0 or args.controls < 0:
        raise ParameterError("--pairs and --controls must not be negative")
    if args.sheet is not None:
        check_writable(args.sheet)
    teacher = load_teacher(args.teacher)
    network = PerceptualNetwork(args.weights) if args.weights is not None else None
    contents = evenly_chosen(named_pictures(args.contents, CONTENTS), args.photos)
    styles = evenly_chosen(named_pictures(args.styles, STYLES), args.paintings)
    pairs = mixed_pairs(contents, styles)[: QUICK_PAIRS if args.quick else args.pairs or None]
    controls = 1 if args.quick else args.controls
    weights = {name: getattr(args, name) for name in ("patch_weight", "distribution_weight", "perception_weight")}
    methods = choose_methods(teacher, args.size, args.steps, controls, args.weights, weights)
    settings = {
        "teacher": teacher.name, "size": args.size, "steps": args.steps, "content": _content_measure(network),
        "weights": args.weights.name if args.weights else None, **weights,
        "strengths": {method.name: list(method.strengths) for method in methods},
    }  # fmt: skip
    kept = KeptPairs(args.run_folder, settings) if args.run_folder is not None else None
    results, rows = compare(methods, pairs, args.size, network, DetectorStyle(), partial(print, flush=True), kept)
    figures = table(results, OURS)
    measures = list(results[0].unchanged.style)
    sheet = draw_sheet(rows[:SHEET_ROWS])
    if args.sheet is not None:
        write_rgb(args.sheet, sheet)
    config = {"pairs": len(pairs), "photographs": len(contents), "styles": len(styles), **settings}
    samples = {
        f"{measure}, {name}": Series("", [values], LOWER)
        for measure in measures
        for name, values in at_equal_content(results, OURS, measure).items()
    }
    inputs = [describe_input(folder) for folder in (args.contents, args.styles) if folder is not None]
    return Measurement(
        config, {"methods": figures, "pairs": [_plain(result) for result in results]},
        summarise(figures, OURS, measures), "\n".join(describe(figures, measures, network)), inputs, samples,
        pictures=[_jpeg(sheet, [method.name for method in methods])],
    )  # fmt: skip


def choose_methods(
    teacher: Teacher,
    size: int,
    steps: int,
    controls: int,
    weights: Path | None,
    loss_weights: Mapping[str, float | None],
) -> list[Method]:
    """The teacher first; its untrained likeness by seed; the baseline; the reference where there are weights for it.

    loss_weights: of `ObjectiveSettings`, None for the usual one.
    """
    from muon_ad_core.bench.synthesis_methods import attention_distillation, colour_moments, direct_optimisation
    from muon_ad_core.distill.features import load_feature_network
    from muon_ad_core.distill.synthesis_settings import SynthesisSettings, default_objective, default_optimisation
    from muon_ad_core.distill.teachers.micro import MicroTeacherFeatures

    chosen: dict[str, Any] = {name: weight for name, weight in loss_weights.items() if weight is not None}
    objective = replace(default_objective(teacher.target), **chosen)
    settings = SynthesisSettings(
        size=size, steps=steps, objective=objective,
        optimisation=default_optimisation(teacher.target),
    )  # fmt: skip
    usual = settings.optimisation.content_weight
    strengths = (4 * usual, usual, usual / 4)
    methods = [attention_distillation(OURS, teacher, settings, strengths)]
    if isinstance(teacher, MicroTeacherFeatures):
        for seed in range(controls):
            methods.append(attention_distillation(f"random {seed}", teacher.untrained(seed), settings, strengths))
    methods.append(colour_moments())
    if weights is not None:
        methods.append(direct_optimisation(load_feature_network(weights)))
    return methods


def compare(
    methods: Sequence[Method],
    pairs: Sequence[tuple[NamedPicture, NamedPicture]],
    size: int,
    network: PerceptualNetwork | None,
    detector: DetectorStyle,
    report: Callable[[str], None] = lambda line: None,
    kept: KeptPairs | None = None,
) -> tuple[list[PairResult], list[list[NDArray[np.uint8]]]]:
    """Paint every pair by every method at every strength, but those that are `kept` from an earlier run.

    Returns the figures, and for every pair a row of pictures: photograph, style, and each method's at middle strength.
    """
    from muon_ad_core.engine.frames import central_square

    results, rows = [], []
    for (content_name, photograph), (style_name, painting) in pairs:
        name = f"{content_name} as {style_name}"
        content, style = central_square(photograph, size), central_square(painting, size)
        found = kept.find(name, content, style) if kept is not None else None
        if found is None:
            found = _paint_pair(name, methods, content, style, network, detector)
            if kept is not None:
                kept.keep(*found)
        results.append(found[0])
        rows.append(found[1])
        report(f"{len(results)} of {len(pairs)}: {name}")
    return results, rows


def _paint_pair(
    name: str,
    methods: Sequence[Method],
    content: NDArray[np.uint8],
    style: NDArray[np.uint8],
    network: PerceptualNetwork | None,
    detector: DetectorStyle,
) -> tuple[PairResult, list[NDArray[np.uint8]]]:
    """Figures and row of one pair.

    What is stronger than a method's middle is left out where that has changed the photograph as much as the first
    method's middle has, where all are compared: it would take as long again as is looked at.
    """
    from muon_ad_core.bench.synthesis_figures import MIDDLE, PairResult, reference_level

    unchanged = judge(content, content, style, network, detector=detector)
    result = PairResult(name, unchanged, {method.name: [] for method in methods})
    row = [content, style]
    for method in methods:
        curve = result.painted[method.name]
        for index, strength in enumerate(method.strengths):
            if index > MIDDLE and curve[-1].content >= reference_level(result, methods[0].name):
                break
            began = time.perf_counter()
            picture = method.paint(content, style, strength)
            seconds = time.perf_counter() - began
            curve.append(judge(picture, content, style, network, strength, seconds, detector))
            if index == MIDDLE:
                row.append(picture)
    return result, row


def judge(
    picture: NDArray[np.uint8],
    content: NDArray[np.uint8],
    style: NDArray[np.uint8],
    network: PerceptualNetwork | None,
    strength: float = 0.0,
    seconds: float = 0.0,
    detector: DetectorStyle | None = None,
) -> Painted:
    """Distances of a picture from its photograph and its style, by the judges that are given."""
    from muon_ad_core.bench.synthesis_figures import Painted
    from muon_ad_core.metrics.image import ssim
    from muon_ad_core.metrics.sliced_wasserstein import patch_sliced_wasserstein

    distances = {"sliced_wasserstein": patch_sliced_wasserstein(picture, style)}
    if detector is not None:
        distances[f"style_distance[{detector.name}]"] = detector.style_distance(picture, style)
    if network is None:
        return Painted(strength, 1 - float(ssim(picture, content)), distances, seconds)
    distances[f"style_distance[{network.name}]"] = float(network.style_distance(picture[None], style[None])[0])
    return Painted(strength, float(network.lpips(picture[None], content[None])[0]), distances, seconds)


def describe(
    figures: dict[str, dict[str, Any]], measures: Sequence[str], network: PerceptualNetwork | None
) -> list[str]:
    """The table for a terminal."""
    kinds = ("as painted", "equal content", "better than ours")
    lines = [f"content: {_content_measure(network)}; at equal content: the distance reached where content is ours"]
    if network is None:
        lines.append("no --weights: no style distance by features, no direct optimisation to compare with")
    for measure in measures:
        headings = "".join(f"{kind:>18}" for kind in kinds)
        lines += ["", f"{measure:24}{'content':>10}{headings}{'s a picture':>14}"]
        for name, row in figures.items():
            cells = "".join(f"{row[f'{measure}, {kind}']:>18.4f}" for kind in kinds)
            lines.append(f"{name:24}{row['content']:>10.3f}{cells}{row['seconds']:>14.1f}")
    return lines


def draw_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """All pictures at their own size, a row each pair, with thin white lines between them."""
    import cv2
    import numpy as np

    def framed(picture: NDArray[np.uint8]) -> Any:
        return cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))

    return np.asarray(np.vstack([np.hstack([framed(picture) for picture in row]) for row in rows]), np.uint8)


def _jpeg(sheet: NDArray[np.uint8], methods: Sequence[str]) -> Picture:
    import cv2

    from muon_ad_core.bench.benchmark import Picture

    jpeg = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return Picture(f"Columns: photograph, style, {', '.join(methods)}, each at its middle strength", jpeg)


def _content_measure(network: PerceptualNetwork | None) -> str:
    return "1 - SSIM" if network is None else f"LPIPS[{network.name}]"


def _plain(result: PairResult) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(result)
