# SPDX-License-Identifier: Apache-2.0
"""The latency histogram: percentiles within its stated error, in constant memory."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.realtime.latency import LatencyHistogram, LatencyWindow


@given(st.lists(st.floats(0.01, 100_000.0), min_size=1, max_size=300), st.sampled_from([50.0, 90.0, 99.0, 99.9]))
def test_percentiles_agree_with_numpy(records: list[float], percent: float) -> None:
    histogram = LatencyHistogram()
    for record in records:
        histogram.record(record)
    exact = float(np.percentile(records, percent, method="inverted_cdf"))
    assert histogram.percentiles(percent)[0] == pytest.approx(exact, rel=0.006)
    assert histogram.maximum == max(records)
    assert histogram.count == len(records)


def test_empty_is_nan() -> None:
    histogram = LatencyHistogram()
    assert math.isnan(histogram.maximum)
    assert all(math.isnan(value) for value in histogram.percentiles(50, 99))


def test_values_outside_the_range_are_kept_at_its_ends() -> None:
    histogram = LatencyHistogram()
    for value in (-3.0, 0.0, 1e9):
        histogram.record(value)
    assert histogram.count == 3
    assert histogram.maximum == 1e9
    assert histogram.percentiles(1)[0] <= 0.01


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_latency_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        LatencyHistogram().record(value)


def test_adding_histograms_is_recording_both() -> None:
    left, right, both = LatencyHistogram(), LatencyHistogram(), LatencyHistogram()
    for index in range(100):
        (left if index % 3 else right).record(index + 1.0)
        both.record(index + 1.0)
    left.add(right)
    assert left.percentiles(10, 50, 99) == both.percentiles(10, 50, 99)
    assert (left.count, left.maximum) == (both.count, both.maximum)


def test_the_window_forgets_old_records() -> None:
    window = LatencyWindow(span=10.0)
    window.record(500.0, now=0.0)
    for second in range(1, 10):
        window.record(5.0, now=float(second))
    assert window.read(now=9.0).maximum == 500.0
    window.record(5.0, now=11.0)
    assert window.read(now=11.0).count == 11
    window.record(5.0, now=21.0)
    assert window.read(now=21.0).maximum == 5.0
    assert window.read(now=100.0).count == 0
