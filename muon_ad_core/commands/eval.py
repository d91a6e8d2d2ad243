# SPDX-License-Identifier: Apache-2.0
"""Judge pictures, sequences and detectors by standard metrics. SSIM, PSNR and fine detail need nothing more.

LPIPS, style distance, the ArtFID-like score and FID[squeeze] need PyTorch (requirements/train.txt) and SqueezeNet 1.1
weights of yours (--weights). FID with another network needs its ONNX graph (--fid).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.commands import eval_detector
from muon_ad_core.errors import ParameterError

if TYPE_CHECKING:
    from muon_ad_core.metrics.evaluate import Evaluation
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

HIGHER_IS_BETTER = ("ssim", "psnr", "style_score", "harmony")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three sub-commands: images, video and detector."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="kind")
    images = kinds.add_parser("images", help="a folder of pictures against references", description=__doc__,
                              formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    images.add_argument("pictures", type=Path, help="picture or folder to judge")
    images.add_argument("references", type=Path, help="what they were made from, under the same names")
    images.add_argument("--style", type=Path, help="picture or folder of the style that was meant")
    images.add_argument("--weights", type=Path, help="SqueezeNet 1.1 (safetensors, torchvision's names)")
    images.add_argument("--lpips-heads", type=Path, help="squeeze.pth v0.1 (default: of an installed lpips package)")
    images.add_argument("--fid", type=Path, metavar="FILE", help="extractor for FID: .onnx or .safetensors")
    video = kinds.add_parser("video", help="flicker of a stylised sequence", description="Temporal warping error.")
    video.add_argument("original", help="video, folder of pictures")
    video.add_argument("stylized", help="the same, frame for frame")
    video.add_argument("--frames", type=int, default=300, help="most frames to look at (default: 300)")
    detector = kinds.add_parser("detector", help="average precision on pictures with boxes in COCO's format",
                                description=eval_detector.__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    eval_detector.add_arguments(detector)
    for kind in (images, video, detector):
        kind.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Evaluate; returns 0."""
    from muon_ad_core.bench.benchmark import HIGHER, LOWER, NEITHER, Measurement, Series
    from muon_ad_core.bench.inputs import describe_input
    from muon_ad_core.bench.result_file import publish

    if args.kind == "detector":
        publish("eval detector", eval_detector.measure(args), args.json)
        return 0
    evaluation = _images(args) if args.kind == "images" else _video(args)
    names = ("pictures", "references", "style", "weights", "fid") if args.kind == "images" else ("original", "stylized")
    files = {name: Path(value) for name in names if (value := getattr(args, name)) is not None}
    samples = {}
    for name, values in evaluation.values.items():
        finite = [value for value in values if abs(value) < float("inf")]
        better = HIGHER if name in HIGHER_IS_BETTER else NEITHER if name == "high_frequency_retention" else LOWER
        samples[name] = Series("dB" if name == "psnr" else "", [finite], better)
    lines = [f"{name:32} {'-' if value is None else f'{value:.4f}'}" for name, value in evaluation.figures.items()]
    measurement = Measurement(
        {name: str(path) for name, path in files.items()},
        {"pictures": evaluation.names},
        evaluation.figures,
        "\n".join(lines),
        [describe_input(path, name) for name, path in files.items() if path.exists()] if args.json else [],
        samples,
    )
    publish(f"eval {args.kind}", measurement, args.json)
    return 0


def _images(args: argparse.Namespace) -> Evaluation:
    from muon_ad_core.metrics.evaluate import evaluate_images
    from muon_ad_core.metrics.extractors import open_extractor

    network = None
    if args.weights is not None:
        network = _perceptual_network(args.weights, args.lpips_heads)
    elif args.style is not None:
        raise ParameterError("--style needs the feature network too: see --weights")
    extractor = open_extractor(args.fid) if args.fid is not None else network
    return evaluate_images(args.pictures, args.references, args.style, network, extractor)


def _perceptual_network(weights: Path, heads: Path | None) -> PerceptualNetwork:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        raise ParameterError("--weights needs PyTorch: pip install -r requirements/train.txt")
    from muon_ad_core.metrics.perceptual import PerceptualNetwork

    return PerceptualNetwork(weights, heads)


def _video(args: argparse.Namespace) -> Evaluation:
    from muon_ad_core.metrics.evaluate import evaluate_sequence

    if args.frames < 2:
        raise ParameterError(f"--frames must be at least 2, not {args.frames}")
    return evaluate_sequence(args.original, args.stylized, args.frames)
