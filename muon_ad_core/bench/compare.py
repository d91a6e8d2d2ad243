# SPDX-License-Identifier: Apache-2.0
"""Compare two results of one benchmark: ratios of their samples with 95 % intervals, and of their summary figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from muon_ad_core.bench.benchmark import HIGHER, LOWER
from muon_ad_core.bench.intervals import Statistic, ratio_interval
from muon_ad_core.bench.result_file import Document, read_document
from muon_ad_core.errors import ParameterError

STATISTICS: dict[str, Statistic] = {
    "median": lambda values: np.median(values, axis=-1),
    "p99": lambda values: np.percentile(values, 99, axis=-1, method="inverted_cdf"),
    "mean": lambda values: np.mean(values, axis=-1),
}
BETTER, WORSE, UNDECIDED, CHANGED = "better", "worse", "no clear change", "changed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench compare``."""
    parser.add_argument("before", type=Path, help="result file to compare with")
    parser.add_argument("after", type=Path, help="result file to judge")


def run(args: argparse.Namespace) -> int:
    """Print the comparison; returns 0. Raises a UserError for files that cannot be compared."""
    print(describe(compare(read_document(args.before), read_document(args.after))))
    return 0


def compare(before: Document, after: Document) -> dict[str, Any]:
    """Ratios after / before of all series of samples and all figures that both have; and what else differs.

    Raises ParameterError when they are of two benchmarks.
    """
    if before["benchmark"] != after["benchmark"]:
        names = f"{before['benchmark']} and {after['benchmark']}"
        raise ParameterError(f"these are results of two benchmarks, {names}: compare results of one")
    samples = {
        name: _compare_series(series, after["samples"][name])
        for name, series in before["samples"].items()
        if name in after["samples"] and any(series["runs"]) and any(after["samples"][name]["runs"])
    }
    figures = {
        name: {"before": value, "after": after["summary"][name], "ratio": _ratio(value, after["summary"][name])}
        for name, value in before["summary"].items()
        if _is_number(value) and _is_number(after["summary"].get(name))
    }
    differences = [
        f"{part}: {key}"
        for part in ("machine", "versions", "config")
        for key in sorted({*before[part], *after[part]})
        if before[part].get(key) != after[part].get(key)
    ]
    if _sums(before) != _sums(after):
        differences.append("inputs: not the same files")
    return {"benchmark": before["benchmark"], "samples": samples, "figures": figures, "differences": differences}


def describe(comparison: Mapping[str, Any]) -> str:
    """The comparison as a table."""
    lines = [f"{comparison['benchmark']}: after / before, with 95 % intervals by block bootstrap", ""]
    for name, rows in comparison["samples"].items():
        for statistic, row in rows.items():
            interval = f"{row['ratio']:8.3f}   {row['low']:.3f} .. {row['high']:.3f}"
            lines.append(f"  {f'{name}, {statistic}':44} {interval:32} {row['verdict']}")
    lines += ["", f"  {'figure':44} {'before':>12} {'after':>12} {'ratio':>8}"]
    for name, row in comparison["figures"].items():
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
        lines.append(f"  {name:44} {row['before']:12.5g} {row['after']:12.5g} {ratio:>8}")
    if comparison["differences"]:
        lines += ["", "What else differs: " + "; ".join(comparison["differences"])]
    return "\n".join(lines)


def _compare_series(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = {}
    for name, statistic in STATISTICS.items():
        row: dict[str, Any] = dict(ratio_interval(before["runs"], after["runs"], statistic))
        rows[name] = row | {"verdict": _judge(row, after["better"])}
    return rows


def _judge(row: Mapping[str, float], better: str) -> str:
    """A change counts when the interval leaves 1 out."""
    if row["low"] <= 1.0 <= row["high"]:
        return UNDECIDED
    if better not in (LOWER, HIGHER):
        return CHANGED
    return BETTER if (row["ratio"] < 1.0) == (better == LOWER) else WORSE


def _ratio(before: float, after: float) -> float | None:
    return after / before if before else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sums(document: Document) -> list[str]:
    return sorted(entry["sha256"] for entry in document["inputs"])
