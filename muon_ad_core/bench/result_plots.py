# SPDX-License-Identifier: Apache-2.0
"""The plots of a result file's samples and histograms, each drawn at a given width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from muon_ad_core.bench.joint_report import percentile
from muon_ad_core.bench.svg_plot import Axis, Plot

COLOURS = ("c1", "c2", "c4", "c3")
MOST_DOTS = 1500  # of one run; more would be seen as one blot, and weigh
MARKED = ((50.0, "p50"), (99.0, "p99"))


def samples_over_time(series: Mapping[str, Any], width: float) -> str:
    """Every sample in its order, run by run; of many, an even choice that keeps the largest."""
    runs = [run for run in series["runs"] if run]
    low, top = _range([value for run in runs for value in run])
    longest = max(map(len, runs))
    plot = Plot(width, 230.0, Axis(0.0, max(1, longest - 1), "sample"), Axis(low, top, series["unit"]))
    for number, run in enumerate(runs):
        places = _thinned(run)
        plot.dots(places, [min(run[place], top) for place in places], COLOURS[number % len(COLOURS)])
    return plot.svg("Samples in their order")


def distribution(series: Mapping[str, Any], width: float) -> str:
    """How often each value came, over all runs, with percentiles."""
    ordered = sorted(value for run in series["runs"] for value in run)
    low, top = _range(ordered)
    bins = 60 if width > 600 else 30
    counts = [0] * bins
    for value in ordered:
        counts[min(bins - 1, int((value - low) / (top - low) * bins))] += 1
    step = (top - low) / bins
    plot = Plot(width, 230.0, Axis(low, top, series["unit"]), Axis(0.0, 1.15 * max(counts), "samples"))
    for index, count in enumerate(counts):
        left = low + index * step
        plot.bar(left, left + 0.92 * step, count, "c1", f"{count} samples from {left:.4g} on")
    for row, (percent, name) in enumerate(MARKED):
        value = percentile(ordered, percent)
        if value is not None and value <= top:
            plot.upright(value, f"{name} {value:.4g}", "percentile", row)
    return plot.svg("How often each value came")


def histogram(entry: Mapping[str, Any], width: float) -> str:
    """A recorded histogram; values on a logarithmic axis when the bins' widths grow."""
    edges, counts = entry["edges"], entry["counts"]
    logarithmic = edges[0] > 0.0 and edges[-1] / edges[0] > 16.0
    place = math.log2 if logarithmic else float
    label = f"log2 of {entry['unit']}" if logarithmic else entry["unit"]
    plot = Plot(width, 230.0, Axis(place(edges[0]), place(edges[-1]), label), Axis(0.0, 1.1 * max(1, *counts), "count"))
    for left, right, count in zip(edges, edges[1:], counts):
        plot.bar(place(left), place(right), count, "c1", f"{count} from {left:.4g} to {right:.4g} {entry['unit']}")
    return plot.svg("Recorded histogram")


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis: from zero where that is near, without a few outliers hiding the rest."""
    ordered = sorted(values)
    low, high, tail = ordered[0], ordered[-1], percentile(ordered, 99.0) or 0.0
    low = 0.0 if 0.0 <= low < 0.5 * max(high, 1e-12) else low
    top = low + min(high - low, 2.0 * (tail - low)) * 1.06
    return low, top if top > low else low + max(1.0, abs(low))


def _thinned(run: Sequence[float]) -> list[int]:
    """Places of the samples to draw: the largest of each of MOST_DOTS equal stretches."""
    if len(run) <= MOST_DOTS:
        return list(range(len(run)))
    borders = [number * len(run) // MOST_DOTS for number in range(MOST_DOTS + 1)]
    return [max(range(begin, end), key=run.__getitem__) for begin, end in pairwise(borders)]
