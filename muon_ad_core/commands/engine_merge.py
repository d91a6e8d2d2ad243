# SPDX-License-Identifier: Apache-2.0
"""Put what several runs trained into one package: levels of pruned students, an encoder; one code a style.

A level of a package that lost 40 % is called fine_40 there, unless --levels says otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.errors import ParameterError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad engine merge``."""
    parser.add_argument("engine", help="folder or name of the whole student's package")
    parser.add_argument("pruned", nargs="*", help="folders of what muon-ad train student --prune made of it")
    parser.add_argument("--encoder", help="folder of what muon-ad train student --frozen-student made of it")
    parser.add_argument(
        "--levels",
        nargs="+",
        default=[],
        metavar="[NEW=]NAME[@SIZE]",
        help="levels of the result, for example fast=fast_40 light=fast_40@0.75 fine (default: all); @0.75: paint at "
        "so much of the frame's size; @600000: paint at most so many pixels, larger frames at a half, a third, ...; or "
        "both",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the result")


def run(args: argparse.Namespace) -> int:
    """Merge; returns 0."""
    from muon_ad_core.engine.merge import merge_levels, put_encoder
    from muon_ad_core.engine.package import EnginePackage, find_engine

    if not args.pruned and not args.encoder:
        raise ParameterError("there is nothing to merge: name pruned packages, or one with --encoder")
    whole = EnginePackage.load(find_engine(args.engine))
    pruned = [EnginePackage.load(find_engine(name)) for name in args.pruned]
    merged = merge_levels(whole, pruned, args.output, args.levels)
    if args.encoder:
        merged = put_encoder(merged, EnginePackage.load(find_engine(args.encoder)))
    print(f"{args.output}: {', '.join(level.name for level in merged.levels)}")
    return 0
