# SPDX-License-Identifier: Apache-2.0
"""Latency histogram with constant memory and percentiles, in the manner of HDR histograms."""

from __future__ import annotations

import math
import operator
import threading
from array import array
from itertools import accumulate

_LOWEST_OCTAVE = -7  # 2^-7 ms = 7.8 microseconds
_HIGHEST_OCTAVE = 17  # 2^17 ms = 131 seconds
_BUCKETS_PER_OCTAVE = 64  # bucket width 1.1 %, so a percentile is within 0.6 %
_BUCKETS = (_HIGHEST_OCTAVE - _LOWEST_OCTAVE) * _BUCKETS_PER_OCTAVE


class LatencyHistogram:
    """Counts latencies in logarithmic buckets: 12 kB whatever the number of records, thread-safe.

    Percentiles are within 0.6 % between 8 microseconds and 131 seconds; count, minimum and maximum are exact.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self._count = 0
        self._minimum = math.inf
        self._maximum = -math.inf

    def record(self, milliseconds: float) -> None:
        """Add one latency in milliseconds; ValueError when it is not a finite number."""
        if not math.isfinite(milliseconds):
            raise ValueError(f"a latency must be finite, not {milliseconds}")
        bucket = _bucket_of(milliseconds)
        with self._lock:
            self._counts[bucket] += 1
            self._count += 1
            self._minimum = min(self._minimum, milliseconds)
            self._maximum = max(self._maximum, milliseconds)

    @property
    def count(self) -> int:
        return self._count

    @property
    def maximum(self) -> float:
        """Largest latency in milliseconds, NaN when nothing was recorded."""
        return self._maximum if self._count else math.nan

    def percentiles(self, *percents: float) -> list[float]:
        """The latency in milliseconds not exceeded by each of `percents` (0..100) of the records; NaN when empty."""
        with self._lock:
            return [self._percentile(percent) for percent in percents]

    def add(self, other: LatencyHistogram) -> None:
        """Add all records of `other` (which must not be recording meanwhile)."""
        with self._lock:
            self._counts = array("Q", map(operator.add, self._counts, other._counts))
            self._count += other._count
            self._minimum = min(self._minimum, other._minimum)
            self._maximum = max(self._maximum, other._maximum)

    def _percentile(self, percent: float) -> float:
        if not self._count:
            return math.nan
        rank = max(1, math.ceil(self._count * percent / 100.0))
        bucket = next(number for number, seen in enumerate(accumulate(self._counts)) if seen >= rank)
        return min(max(_middle_of(bucket), self._minimum), self._maximum)


class LatencyWindow:
    """Histogram of the most recent records: between one and two spans of `span` seconds, in constant memory."""

    def __init__(self, span: float) -> None:
        self._span = span
        self._lock = threading.Lock()
        self._began = -math.inf
        self._current = LatencyHistogram()
        self._previous = LatencyHistogram()

    def record(self, milliseconds: float, now: float) -> None:
        """Add one latency in milliseconds at monotonic time `now` (seconds)."""
        with self._lock:
            self._forget(now)
            self._current.record(milliseconds)

    def read(self, now: float) -> LatencyHistogram:
        """A histogram of the window that ends at monotonic time `now` (seconds)."""
        with self._lock:
            self._forget(now)
            merged = LatencyHistogram()
            merged.add(self._current)
            merged.add(self._previous)
            return merged

    def _forget(self, now: float) -> None:
        age = now - self._began
        if age < self._span:
            return
        self._previous = self._current if age < 2 * self._span else LatencyHistogram()
        self._current = LatencyHistogram()
        self._began = now


def _bucket_of(milliseconds: float) -> int:
    if milliseconds <= 2.0**_LOWEST_OCTAVE:
        return 0
    return min(_BUCKETS - 1, int((math.log2(milliseconds) - _LOWEST_OCTAVE) * _BUCKETS_PER_OCTAVE))


def _middle_of(bucket: int) -> float:
    return 2.0 ** (_LOWEST_OCTAVE + (bucket + 0.5) / _BUCKETS_PER_OCTAVE)
