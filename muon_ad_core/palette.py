# SPDX-License-Identifier: Apache-2.0
"""The style's palette: what was painted is given colours as the style's picture has them, as far as wanted.

A style code tells colours only roughly, that of a picture seen for the first time most of all, and a photograph of few
colours is painted with few. So the mean and covariance of what was painted are measured, and its colours moved by the
linear map that brings them to the picture's and moves them least (Pitié and Kokaram, 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from muon_ad_core.engine.frames import samples

USUAL_SHARE = 0.5
"""How far colours are moved, unless somebody wants another."""
SAMPLES = 64
"""Pixels along each side that are looked at, about."""
FLOOR = 5.0
"""Standard deviation in grey levels that is added to all colours: else noise would get the contrast of a painting."""
MOST_GAIN = 2.5
"""Most by which a contrast is raised."""
ROUNDED = 1.0
"""Most by which a variance may have come out below zero."""
KEPT = 0.9
"""Share of the colours of the frames before that is kept in those of a sequence, so that one frame makes no flicker."""


@dataclass(frozen=True, eq=False)
class Palette:
    """Mean (3,) and covariance (3, 3) of the colours of a picture, RGB from 0 to 255, float32."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray) -> Palette:
        """Of a picture (H, W, 3) uint8."""
        rows, columns = (max(1, side // SAMPLES) for side in picture.shape[:2])
        colours = samples(picture, rows, columns)[0].reshape(-1, 3)
        mean = np.array(cv2.mean(colours.reshape(-1, 1, 3))[:3], np.float32)
        colours = colours.astype(np.float32)
        return cls(mean, colours.T @ colours / len(colours) - np.outer(mean, mean))

    @classmethod
    def from_array(cls, array: np.ndarray) -> Palette:
        """Inverse of `to_array`; raises ValueError for another shape, or for numbers that no picture has."""
        if array.shape != (3, 4):
            raise ValueError(f"a palette has 3 x 4 numbers, not {array.shape}")
        if not np.isfinite(array).all() or np.linalg.eigvalsh(array[:, 1:]).min() < -ROUNDED:
            raise ValueError("a palette's variances must not be negative")
        return cls(array[:, 0].astype(np.float32), array[:, 1:].astype(np.float32))

    @classmethod
    def mean_of(cls, palettes: Sequence[Palette]) -> Palette:
        """With the mean of the means and of the covariances of one or several."""
        return cls.from_array(np.mean([palette.to_array() for palette in palettes], axis=0))

    def to_array(self) -> np.ndarray:
        """(3, 4) float32: the mean, then the covariance's columns."""
        return np.column_stack([self.mean, self.covariance]).astype(np.float32)

    def mixed(self, other: Palette, share: float) -> Palette:
        """With a share, from 0 to 1, of another's mean and covariance."""
        return Palette(
            (1 - share) * self.mean + share * other.mean, (1 - share) * self.covariance + share * other.covariance
        )

    def map_to(self, wanted: Palette, share: float) -> np.ndarray:
        """(3, 4) float32, of which the last column is added: from colours like these to those wanted, a share of it."""
        floor = FLOOR**2 * np.eye(3)
        variances, axes = np.linalg.eigh(self.covariance + floor)
        root, inverse = (_symmetric(variances**exponent, axes) for exponent in (0.5, -0.5))
        variances, axes = np.linalg.eigh(root @ (wanted.covariance + floor) @ root)
        gains, axes = np.linalg.eigh(inverse @ _symmetric(variances**0.5, axes) @ inverse)
        matrix = _symmetric(np.minimum(gains, MOST_GAIN), axes)
        moved = wanted.mean - matrix @ self.mean
        return np.column_stack([(1 - share) * np.eye(3) + share * matrix, share * moved]).astype(np.float32)


class PaintedColours:
    """The palette of what is painted, followed from frame to frame."""

    def __init__(self) -> None:
        self._found: Palette | None = None

    def forget(self) -> None:
        """The next frame begins a new sequence."""
        self._found = None

    def follow(self, painted: np.ndarray, in_sequence: bool) -> Palette:
        """Take in a painted frame, RGB uint8 (H, W, 3); in_sequence: it follows the one before."""
        found = Palette.of(painted)
        if in_sequence and self._found is not None:
            found = self._found.mixed(found, 1 - KEPT)
        self._found = found
        return found


def move_colours(painted: np.ndarray, found: Palette, wanted: Palette, share: float) -> None:
    """Move the colours of a picture, RGB uint8 (H, W, 3), in place: a share of the way from one palette to another."""
    cv2.transform(painted, found.map_to(wanted, share), dst=painted)


def _symmetric(values: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The matrix of these eigenvalues and eigenvectors."""
    return np.asarray((axes * values) @ axes.T)
