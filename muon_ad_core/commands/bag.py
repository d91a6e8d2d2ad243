# SPDX-License-Identifier: Apache-2.0
"""Recordings for benchmarks: ``muon-ad bag make`` records one from any source, with ground truth beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.errors import ParameterError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command: make."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    make = actions.add_parser("make", help="record a benchmark bag", description="Record a benchmark bag.")
    make.add_argument("output", type=Path, help="folder to write; poses and flow go to OUTPUT.truth")
    make.add_argument(
        "--source",
        default="motorcycle",
        help="scene (motorcycle, pan), video, folder of pictures, RGB-D folder or /dev/videoN (default: motorcycle)",
    )
    make.add_argument("--seconds", type=float, default=10.0, help="longest time (default: 10)")
    make.add_argument("--rate", type=float, help="frames a second (default: the source's own)")
    make.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="default: mcap")


def run(args: argparse.Namespace) -> int:
    """Record; returns 0."""
    from muon_ad_core.bench.bag_maker import make_bag

    if not 0.0 < args.seconds <= 3600.0:
        raise ParameterError(f"--seconds must be more than 0 and at most 3600, not {args.seconds:g}")
    counts = make_bag(args.source, args.output, args.seconds, args.rate, args.storage)
    truth = f"{counts['poses']} poses and {counts['flows']} flow fields in {args.output}.truth"
    known = truth if counts["poses"] or counts["flows"] else "the source tells no ground truth"
    print(f"{counts['frames']} frames in {args.output}; {known}")
    return 0
