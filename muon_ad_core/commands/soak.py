# SPDX-License-Identifier: Apache-2.0
"""``muon-ad soak``: the joint task with random faults: does it recover, and is every frame accounted for?"""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.errors import ParameterError

DID_NOT_HOLD = 1  # exit code
DEFAULT_MINUTES = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad soak``."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, help="how long")
    length.add_argument("--minutes", type=float, help=f"how long (default: {DEFAULT_MINUTES:g})")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (default: 0)")
    parser.add_argument(
        "--output", type=Path, default=Path("out/soak"), metavar="FOLDER", help="for the ledger (default: out/soak)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Soak; returns 0 when everything held, else 1."""
    from muon_ad_core.bench.result_file import publish
    from muon_ad_core.bench.soak import Soak, holds

    minutes = args.hours * 60.0 if args.hours is not None else args.minutes
    minutes = DEFAULT_MINUTES if minutes is None else minutes
    if not 0.1 <= minutes <= 60.0 * 24.0 * 31.0:
        raise ParameterError(f"the length must be between 0.1 minutes and 31 days, not {minutes:g} minutes")
    measurement = Soak(minutes * 60.0, args.seed, args.output).run()
    publish("soak", measurement, args.json)
    return 0 if holds(measurement.summary) else DID_NOT_HOLD
