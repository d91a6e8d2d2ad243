# SPDX-License-Identifier: Apache-2.0
"""The streaming form of every metric that has a value for each picture: values come one by one, the mean at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


class RunningMean:
    """Mean of the finite values of a metric so far, with those values.

    >>> similarity = RunningMean(ssim)
    >>> similarity.add(picture, reference)
    >>> similarity.mean
    """

    def __init__(self, metric: Callable[..., Any]) -> None:
        self._metric = metric
        self.values: list[float] = []

    def add(self, *arguments: Any) -> None:
        """Take in a picture, or a batch of them, with whatever the metric compares it to."""
        values: Iterable[float] = np.ravel(np.asarray(self._metric(*arguments), np.float64))
        self.values += [float(value) for value in values]

    @property
    def mean(self) -> float | None:
        """Mean of the values, without infinite and undefined ones; None when there are none."""
        finite = [value for value in self.values if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else None
