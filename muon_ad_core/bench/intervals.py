# SPDX-License-Identifier: Apache-2.0
"""Confidence intervals: of a mean over runs, and of the ratio of two measurements by bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000

Statistic = Callable[[NDArray[np.float64]], Any]
"""Of values along the last axis, such as ``lambda values: np.median(values, axis=-1)``."""


def mean_interval(values: Sequence[float | None], confidence: float = CONFIDENCE) -> dict[str, float | None]:
    """Mean over runs and its interval by Student's t; bounds are None for fewer than two runs."""
    from scipy.stats import t as student_t  # slow to import, and comparing needs none of it

    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "low": None, "high": None}
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return {"mean": mean, "low": None, "high": None}
    error = float(np.std(known, ddof=1)) / math.sqrt(len(known))
    reach = error * float(student_t.ppf(0.5 + confidence / 2, len(known) - 1))
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def ratio_interval(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], statistic: Statistic, seed: int = 0
) -> dict[str, float]:
    """statistic(b) / statistic(a) and its 95 % interval by bootstrap; `a` and `b` are runs of samples in time order.

    Neighbouring frames are alike, so that blocks of them are drawn, not single ones; with three runs or more on a side,
    whole runs are drawn first, because runs differ more than frames.
    Raises ValueError when a side has no samples.
    """
    generator = np.random.default_rng(seed)
    numerator, denominator = (
        np.array([float(statistic(_resample(runs, generator))) for _ in range(RESAMPLES)]) for runs in (b, a)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanpercentile(numerator / denominator, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    ratio = float(statistic(_joined(b))) / float(statistic(_joined(a)))
    return {"ratio": ratio, "low": float(low), "high": float(high)}


def paired_ratio_interval(
    a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], seed: int = 0
) -> dict[str, float]:
    """median(b) / median(a) and its 95 % interval, where a[i] and b[i] were measured in turns in round i.

    Rounds are drawn, for both sides the same ones: what disturbed a round disturbed both, and does not widen the
    interval. All rounds have as many samples. Raises ValueError when they have not, or there are none.
    """
    rounds_a, rounds_b = (np.array(runs, np.float64) for runs in (a, b))
    if rounds_a.shape != rounds_b.shape or rounds_a.ndim != 2 or not rounds_a.size:
        raise ValueError("both sides need as many samples in the same rounds")
    drawn = np.random.default_rng(seed).integers(0, len(a), (RESAMPLES, len(a)))
    ratios = np.median(rounds_b[drawn], axis=(1, 2)) / np.median(rounds_a[drawn], axis=(1, 2))
    low, high = np.percentile(ratios, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return {"ratio": float(np.median(rounds_b) / np.median(rounds_a)), "low": float(low), "high": float(high)}


def _joined(runs: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    values = np.concatenate([np.asarray(run, np.float64) for run in runs]) if runs else np.empty(0)
    if not values.size:
        raise ValueError("no samples")
    return values


def _resample(runs: Sequence[Sequence[float]], generator: np.random.Generator) -> NDArray[np.float64]:
    filled = [np.asarray(run, np.float64) for run in runs if len(run)]
    if not filled:
        raise ValueError("no samples")
    chosen = generator.integers(0, len(filled), len(filled)) if len(filled) > 2 else range(len(filled))
    return np.concatenate([_blocks(filled[number], generator) for number in chosen])


def _blocks(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """As many values again, in circular blocks of about the cube root of their number (Künsch, 1989)."""
    size = max(1, round(values.size ** (1 / 3)))
    starts = generator.integers(0, values.size, -(-values.size // size))
    places = (starts[:, None] + np.arange(size)).ravel()[: values.size] % values.size
    return values[places]
