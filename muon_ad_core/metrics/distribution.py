# SPDX-License-Identifier: Apache-2.0
"""Distance between two sets of pictures: the Fréchet distance of features, FID in general (Heusel et al., 2017).

The extractor of the features decides what the number means, so that it is part of its name: `FID[squeeze]`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.errors import ParameterError

Matrix = NDArray[np.float64]


class FeatureExtractor(Protocol):
    """Turns pictures into feature vectors."""

    name: str
    """Goes into the metric's label."""

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[Any]:
        """Features (B, D) of RGB pictures (B, H, W, 3)."""


class FeatureStatistics:
    """Mean and covariance of feature vectors that come in batches; memory does not grow with their number."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Matrix = np.zeros(0)
        self._products: Matrix = np.zeros((0, 0))
        self._origin: Matrix = np.zeros(0)  # sums count from the first vector on, so that digits are not lost

    def add(self, features: NDArray[Any]) -> None:
        """Take in features (B, D)."""
        values = np.asarray(features, np.float64)
        if not self.count:
            size = values.shape[1]
            self._origin, self._sum, self._products = values[0].copy(), np.zeros(size), np.zeros((size, size))
        centred = values - self._origin
        self.count += len(values)
        self._sum += centred.sum(0)
        self._products += centred.T @ centred

    @property
    def mean(self) -> Matrix:
        """(D,)."""
        return self._origin + self._sum / self.count

    @property
    def covariance(self) -> Matrix:
        """(D, D), unbiased. Raises ParameterError for fewer than two vectors."""
        if self.count < 2:
            raise ParameterError(f"a Fréchet distance needs at least two pictures on each side, not {self.count}")
        mean = self._sum / self.count
        return (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of two Gaussians; >= 0.

    Raises ParameterError for fewer than two vectors on a side.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root_a = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    # C_a C_b has the eigenvalues of the symmetric root_a C_b root_a, which are found without complex numbers.
    eigenvalues = np.linalg.eigvalsh(root_a @ b.covariance @ root_a)
    difference = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(difference @ difference + traces - 2.0 * np.sqrt(eigenvalues.clip(min=0.0)).sum()))


class FrechetScore:
    """The streaming form: pictures of two sets come in any order, the distance at the end."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        self.reference = FeatureStatistics()
        self.generated = FeatureStatistics()

    @property
    def label(self) -> str:
        """What to call the number: never without its extractor."""
        return f"FID[{self._extractor.name}]"

    def add_reference(self, pictures: NDArray[np.uint8]) -> None:
        """RGB pictures (B, H, W, 3) of the set to be like."""
        self.reference.add(self._extractor(pictures))

    def add_generated(self, pictures: NDArray[np.uint8]) -> None:
        """RGB pictures (B, H, W, 3) of the set to judge."""
        self.generated.add(self._extractor(pictures))

    def distance(self) -> float:
        """The distance so far; raises ParameterError for fewer than two pictures on a side."""
        return frechet_distance(self.reference, self.generated)
