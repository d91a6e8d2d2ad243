# SPDX-License-Identifier: Apache-2.0
"""The styles of an engine: list them, make one of any picture, remove one of your own.

  muon-ad style add painting.jpg --name mine
  muon-ad style list
  muon-ad style remove mine

A style of your own is a file of about a kilobyte in your data folder, with a thumbnail; every command and node finds
it there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from muon_ad_core.errors import ParameterError, StyleError

if TYPE_CHECKING:
    import numpy as np

    from muon_ad_core.engine.package import EnginePackage
    from muon_ad_core.stylize import Stylizer

THUMBNAIL_PHOTOGRAPH = "coffee.png"
THUMBNAIL_SIZE = (192, 144)  # width, height
LONGEST_REFINEMENT = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three sub-commands: add, list, remove."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    add = actions.add_parser("add", help="make a style of one or several pictures")
    add.add_argument("pictures", type=Path, nargs="+", metavar="picture", help="pictures; several are averaged")
    add.add_argument("--name", help="name of the style (default: the first picture's, without suffix)")
    add.add_argument("--refine", metavar="TIME", help="go on for that long, such as 60s; needs PyTorch and --features")
    add.add_argument("--features", type=Path, help="SqueezeNet 1.1 weights (safetensors), which judge a refinement")
    add.add_argument("--photos", type=Path, help="folder of photographs to refine on (default: scikit-image's)")
    add.add_argument("--in-package", action="store_true", help="put it into the engine package itself")
    remove = actions.add_parser("remove", help="remove a style of your own")
    remove.add_argument("name")
    remove.add_argument("--in-package", action="store_true", help="remove it from the engine package itself")
    listing = actions.add_parser("list", help="the engine's styles and your own")
    for action in (add, remove, listing):
        action.add_argument("--engine", default="student", help="engine package: a name or a folder (default: student)")


def run(args: argparse.Namespace) -> int:
    """Do it; returns 0."""
    from muon_ad_core.engine.package import EnginePackage, find_engine

    package = EnginePackage.load(find_engine(args.engine))
    if package.task != "style":
        raise StyleError(f"engine {package.name} is for {package.task}, not for style: choose a style engine")
    {"add": _add, "remove": _remove, "list": _list}[args.action](package, args)
    return 0


def _add(package: EnginePackage, args: argparse.Namespace) -> None:
    from dataclasses import replace

    from muon_ad_core.offline.stills import read_still
    from muon_ad_core.style_files import mean_style, shipped_styles, style_path, write_shipped, write_style
    from muon_ad_core.stylize import Stylizer

    name = args.name or args.pictures[0].stem
    shipped = shipped_styles(package)
    if name in shipped:
        raise StyleError(f"engine {package.name} ships a style '{name}': choose another with --name")
    path = style_path(package, name)
    pictures = [read_still(picture).rgb for picture in args.pictures]
    stylizer = Stylizer(package)
    styles = []
    for picture in pictures:
        stylizer.add_style(name, picture)
        styles.append(stylizer.style(name))
    style = mean_style(styles)
    if args.refine:
        style = replace(style, code=_refine(package, style.code, pictures, args))
    stylizer.keep_style(name, style)
    if args.in_package:
        write_shipped(package, {**shipped, name: style})
        print(f"{name}: now a style of {package.root}")
    else:
        write_style(path, package, name, style)
        _write_thumbnail(stylizer, name, path.with_suffix(".jpg"))
        print(f"{name}: {path} ({path.stat().st_size} bytes), thumbnail {path.with_suffix('.jpg').name}")
    print(f"Try it: muon-ad stylize photo.jpg -s {name} -o stylised.jpg")


def _refine(
    package: EnginePackage, code: np.ndarray, pictures: list[np.ndarray], args: argparse.Namespace
) -> np.ndarray:
    import importlib.util

    seconds = read_seconds(args.refine)
    if importlib.util.find_spec("torch") is None:
        raise ParameterError("--refine needs PyTorch: pip install -r requirements/train.txt")
    if args.features is None:
        raise ParameterError("--refine needs --features: SqueezeNet 1.1 weights (safetensors, torchvision's names)")
    from muon_ad_core.distill.style_refinement import refine_style

    result = refine_style(package, code, pictures, args.features, seconds, args.photos)
    kept = "kept" if result.better else "no better: the encoder's code stays"
    print(
        f"refined in {result.steps} steps, {result.seconds:.0f} s: {result.before:.4f} -> {result.after:.4f} ({kept})"
    )
    return result.code


def read_seconds(text: str) -> float:
    """Seconds of "60s", "60" or "2m"; raises ParameterError for anything else."""
    unit = 60.0 if text.endswith("m") else 1.0
    try:
        seconds = float(text.rstrip("sm")) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_REFINEMENT:
        raise ParameterError(f"--refine must be a time such as 60s or 2m, not '{text}'")
    return seconds


def _write_thumbnail(stylizer: Stylizer, name: str, path: Path) -> None:
    """A photograph of ours in the style: never the picture itself."""
    import cv2

    from muon_ad_core.offline.stills import Still, write_still
    from muon_ad_core.sources.photographs import load_photograph

    stylizer.set_style(name)
    stylizer.set_level(stylizer.levels()[-1])
    width, height = THUMBNAIL_SIZE
    large = cv2.resize(load_photograph(THUMBNAIL_PHOTOGRAPH), (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
    write_still(path, Still(cv2.resize(stylizer.run(large), THUMBNAIL_SIZE, interpolation=cv2.INTER_AREA)))


def _remove(package: EnginePackage, args: argparse.Namespace) -> None:
    from muon_ad_core.style_files import shipped_styles, style_path, write_shipped

    if args.in_package:
        styles = shipped_styles(package)
        if args.name not in styles:
            raise StyleError(f"engine {package.root} has no style '{args.name}': see muon-ad style list")
        if len(styles) == 1:
            raise StyleError(f"'{args.name}' is the only style of {package.root}: an engine needs one")
        del styles[args.name]
        write_shipped(package, styles)
    else:
        path = style_path(package, args.name)
        if not path.is_file():
            raise StyleError(f"you have no style '{args.name}' for engine {package.name}: see muon-ad style list")
        path.unlink()
        path.with_suffix(".jpg").unlink(missing_ok=True)
    print(f"{args.name}: removed")


def _list(package: EnginePackage, args: argparse.Namespace) -> None:
    from muon_ad_core.style_files import read_style, user_style_files

    for style in package.manifest["styles"]:
        origin = ", ".join(part for part in (style.get("artist"), style.get("work")) if part)
        print(f"{style['name']:32} {origin}".rstrip())
    for path in user_style_files(package):
        try:
            print(f"{read_style(path, package)[0]:32} yours: {path}")
        except StyleError as error:
            print(f"{path.stem:32} not usable: {error}")
