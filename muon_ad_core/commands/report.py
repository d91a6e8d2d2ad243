# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of result files, with plots and pictures; it opens offline, on phones too."""

from __future__ import annotations

import argparse
from pathlib import Path

from muon_ad_core.errors import ParameterError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad report``."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="files written with --json")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")


def run(args: argparse.Namespace) -> int:
    """Write the page; returns 0."""
    from muon_ad_core.bench.result_file import read_document
    from muon_ad_core.bench.result_page import render

    text = render([read_document(path) for path in args.results])
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"--output {args.output} cannot be written: {error.strerror}") from None
    print(f"{args.output}: {len(text.encode()) / 1e6:.2f} MB")
    return 0
