# SPDX-License-Identifier: Apache-2.0
"""Stylise a picture, every picture below a folder, or a video.

  muon-ad stylize photo.jpg -s hokusai_great_wave -o wave.jpg
  muon-ad stylize photos/ -s my_painting.jpg --strength 0.8 -o stylised/
  muon-ad stylize clip.mp4 -s munch_scream --blend monet_water_lilies_1919 0.3 -o clip_munch.mp4

Pictures keep size and transparency; those with 16 bits come out with 8. Videos keep rate, length and, where ffmpeg is
installed, sound. Exits with 1 when files of a folder could not be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muon_ad_core.errors import ParameterError, SourceError

if TYPE_CHECKING:
    from muon_ad_core.stylize import Stylizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad stylize``."""
    from muon_ad_core.palette import USUAL_SHARE as PALETTE_SHARE
    from muon_ad_core.smoothing import USUAL_SHARE

    parser.add_argument("input", type=Path, help="picture, folder of pictures, or video")
    parser.add_argument("-s", "--style", required=True, help="name (muon-ad style list), picture or style file")
    parser.add_argument("--blend", nargs=2, metavar=("STYLE", "SHARE"), help="a second style and its share, 0 to 1")
    parser.add_argument("--strength", type=float, default=1.0, help="0 leaves the picture as it is (default: 1)")
    parser.add_argument("--palette", type=float, default=PALETTE_SHARE, metavar="SHARE",
                        help="how far colours are moved to those of the style's picture; 0: as painted "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--level", default="", help="level of detail (default: the engine's finest)")
    parser.add_argument("--smoothing", type=float, default=USUAL_SHARE, metavar="SHARE",
                        help="videos: share of the previous frame kept, moved with the scene, against flicker "
                        "(default: %(default)s; 0: every frame by itself)")  # fmt: skip
    parser.add_argument("--most-pixels", type=int, default=0, metavar="PIXELS",
                        help="videos: frames of more are painted at a half, a third, ... of their size and keep their "
                        "own detail (default: as the level says)")  # fmt: skip
    parser.add_argument("--rate", type=float, help="videos: frames a second of the result (default: the original's)")
    parser.add_argument("--engine", default="student", help="engine package: a name or a folder (default: student)")
    parser.add_argument("--backend", default="auto", help="runtime (default: the best that is installed)")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (default: all)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file, or folder for a folder's pictures")


def run(args: argparse.Namespace) -> int:
    """Stylise; returns 0, or 1 when some pictures of a folder were refused."""
    if not args.input.exists():
        raise SourceError(f"there is no file or folder {args.input}: check the path")
    if args.rate is not None and not 0 < args.rate <= 1000:
        raise ParameterError(f"--rate must be above 0 and at most 1000, not {args.rate:g}")
    stylizer = open_stylizer(args)
    if args.input.is_dir():
        return _folder(stylizer, args.input, args.output)
    from muon_ad_core.offline.videos import VIDEO_SUFFIXES

    target = args.output / args.input.name if args.output.is_dir() else args.output
    if args.input.suffix.lower() in VIDEO_SUFFIXES:
        stylizer.set_temporal_smoothing(args.smoothing)
        stylizer.set_most_pixels(args.most_pixels)
        _video(stylizer, args.input, target, args.rate)
    else:
        from muon_ad_core.offline.pictures import stylize_file

        stylize_file(stylizer, args.input, target)
        print(target)
    return 0


def open_stylizer(args: argparse.Namespace) -> Stylizer:
    """The engine with the style, strength, palette and level that were asked for."""
    from muon_ad_core.engine.package import EnginePackage, find_engine
    from muon_ad_core.offline.styles import resolve_style
    from muon_ad_core.stylize import Stylizer

    stylizer = Stylizer(EnginePackage.load(find_engine(args.engine)), args.backend, args.threads)
    stylizer.set_level(args.level or stylizer.levels()[-1])
    stylizer.set_strength(args.strength)
    stylizer.set_palette(args.palette)
    second, share = "", 0.0
    if args.blend:
        try:
            share = float(args.blend[1])
        except ValueError:
            raise ParameterError(f"--blend needs a style and a share from 0 to 1, not '{args.blend[1]}'") from None
        second = resolve_style(stylizer, args.blend[0])
    stylizer.set_style(resolve_style(stylizer, args.style), second, share)
    return stylizer


def _folder(stylizer: Stylizer, source: Path, target: Path) -> int:
    from muon_ad_core.offline.pictures import stylize_folder

    with _progress() as progress:
        task = progress.add_task(source.name, total=None)

        def report(done: int, total: int, problem: str) -> None:
            progress.update(task, completed=done, total=total)
            if problem:
                print(problem, file=sys.stderr)

        refused = stylize_folder(stylizer, source, target, report)
        total = int(progress.tasks[0].total or 0)
    print(f"{target}: {total - len(refused)} of {total} pictures stylised, {len(refused)} refused")
    return 1 if refused else 0


def _video(stylizer: Stylizer, source: Path, target: Path, rate: float | None) -> None:
    from muon_ad_core.offline.videos import stylize_video
    from muon_ad_core.sources.video import frame_count

    with _progress() as progress:
        task = progress.add_task(source.name, total=frame_count(source) if rate is None else None)
        result = stylize_video(stylizer, source, target, lambda done: progress.update(task, completed=done), rate)
    print(f"{target}: {result.frames} frames at {result.rate:g} a second")
    if not result.sound:
        print("The result has no sound, as ffmpeg is not installed: sudo apt-get install ffmpeg", file=sys.stderr)
    if result.damage:
        print(result.damage, file=sys.stderr)


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
