# SPDX-License-Identifier: Apache-2.0
"""Comparison of results: intervals hold the truth, verdicts follow them, and what else differs is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muon_ad_core import cli
from muon_ad_core.bench.benchmark import HIGHER, LOWER, Measurement, Series
from muon_ad_core.bench.compare import BETTER, UNDECIDED, WORSE, compare, describe
from muon_ad_core.bench.intervals import mean_interval, ratio_interval
from muon_ad_core.bench.result_file import Document, make_document, write_document
from muon_ad_core.errors import ParameterError

FACTS = {"processor": "a processor", "processors": 2, "python": "3.11", "muon_ad": "0.1.0"}


def latencies(scale: float, seed: int, runs: int = 1, count: int = 400) -> list[list[float]]:
    generator = np.random.default_rng(seed)
    return [(scale * generator.lognormal(2.0, 0.3, count)).tolist() for _ in range(runs)]


def document(scale: float, seed: int, better: str = LOWER, name: str = "probe", **config: Any) -> Document:
    samples = {"latency_ms": Series("ms", latencies(scale, seed), better)}
    return make_document(name, FACTS, Measurement(config, {}, {"p50_ms": 7.0 * scale, "who": "x"}, "", (), samples))


def test_the_interval_holds_the_true_ratio() -> None:
    median = lambda values: np.median(values, axis=-1)  # noqa: E731
    for runs in (1, 5):
        row = ratio_interval(latencies(1.0, 1, runs), latencies(1.25, 2, runs), median)
        assert row["low"] < 1.25 < row["high"]
        assert row["low"] < row["ratio"] < row["high"]
        assert row["high"] - row["low"] < 0.3


def test_neighbours_that_are_alike_widen_the_interval() -> None:
    mean = lambda values: np.mean(values, axis=-1)  # noqa: E731
    generator = np.random.default_rng(3)
    level = 10.0 + np.repeat(generator.normal(0, 2, 40), 10)
    shuffled = generator.permutation(level)
    steady = [[10.0] * 400]
    alike, mixed = (ratio_interval(steady, [values.tolist()], mean) for values in (level, shuffled))
    assert alike["high"] - alike["low"] > 1.5 * (mixed["high"] - mixed["low"])


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        ratio_interval([[]], [[1.0]], np.mean)


@pytest.mark.parametrize(
    ("scale", "better", "verdict"),
    [(1.3, LOWER, WORSE), (0.7, LOWER, BETTER), (1.3, HIGHER, BETTER), (1.0, LOWER, UNDECIDED)],
)
def test_verdicts(scale: float, better: str, verdict: str) -> None:
    seed = 1 if scale == 1.0 else 2
    comparison = compare(document(1.0, 1, better), document(scale, seed, better))
    assert comparison["samples"]["latency_ms"]["median"]["verdict"] == verdict


def test_figures_have_ratios_and_differences_are_named() -> None:
    comparison = compare(document(1.0, 1, rate=30), document(2.0, 2, rate=60))
    assert comparison["figures"] == {"p50_ms": {"before": 7.0, "after": 14.0, "ratio": 2.0}}
    assert comparison["differences"] == ["config: rate"]
    assert "config: rate" in describe(comparison)


def test_two_benchmarks_cannot_be_compared() -> None:
    with pytest.raises(ParameterError, match="two benchmarks, probe and other"):
        compare(document(1.0, 1), document(1.0, 1, name="other"))


def test_means_over_runs_have_student_s_interval() -> None:
    row = mean_interval([9.0, 10.0, 11.0])
    assert row["mean"] == 10.0
    assert row["high"] == pytest.approx(10.0 + 4.3027 / 3**0.5, abs=1e-3)
    assert mean_interval([5.0]) == {"mean": 5.0, "low": None, "high": None}
    assert mean_interval([None])["mean"] is None


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, scale in (("a", 1.0), ("b", 1.5)):
        write_document(tmp_path / f"{name}.json", document(scale, 1))
    assert cli.main(["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "1.500" in capsys.readouterr().out
    assert cli.main(["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "missing.json")]) == 2
    assert "missing.json cannot be read" in capsys.readouterr().err
