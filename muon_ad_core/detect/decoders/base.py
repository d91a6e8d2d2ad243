# SPDX-License-Identifier: Apache-2.0
"""What all decoders share: their interface, the grid of locations, and the search for good scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from muon_ad_core.errors import EngineError

MAXIMUM_CANDIDATES = 300


@dataclass(frozen=True)
class Candidates:
    """Boxes before suppression.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the network's input.
        scores: (N,) float32, 0..1.
        labels: (N,) int64, class indices.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Decoder(ABC):
    """Turns what a graph says about one picture into candidates; `prepare` comes first, and again when sizes change.

    classes: how many; strides: pixels between locations, finest first; settings: the manifest's entry "decoding".
    """

    settings_type: type[Any]
    """Dataclass of the settings that this decoder takes."""

    def __init__(self, classes: int, strides: tuple[int, ...], settings: Any) -> None:
        self.classes = classes
        self.strides = strides
        self.settings = settings

    @abstractmethod
    def prepare(self, rows: int, columns: int) -> None:
        """Lay out the locations of an input of that many pixels."""

    @abstractmethod
    def decode(
        self, outputs: Mapping[str, np.ndarray], score_threshold: float, allowed: np.ndarray | None = None
    ) -> Candidates:
        """Candidates with a score above the threshold, at most MAXIMUM_CANDIDATES, in no particular order.

        outputs: the graph's results, batch of one; allowed: (classes,) bool limits the classes.
        Raises EngineError when the outputs are not what the settings say.
        """


def grid_locations(
    height: int, width: int, strides: tuple[int, ...], cell_offset: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Points (L, 2) x y in pixels and strides (L,) of all locations of an input: stride by stride, row by row.

    cell_offset: where a location's point lies in its cell, 0.5 in the middle, 0 at its left top corner.
    """
    points, all_strides = [], []
    for stride in strides:
        y, x = np.mgrid[: height // stride, : width // stride]
        points.append((np.stack([x.ravel(), y.ravel()], axis=1) + cell_offset) * stride)
        all_strides.append(np.full(x.size, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(all_strides).astype(np.float32)


def best_pairs(
    values: np.ndarray, threshold: float, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N,), columns (N,) and values (N,) of the entries of (L, classes) above the threshold.

    Of more than MAXIMUM_CANDIDATES, the largest.
    """
    above = values > threshold
    if allowed is not None:
        above &= allowed
    # A flat search is several times faster than a two-dimensional nonzero().
    rows, columns = np.divmod(np.flatnonzero(above), values.shape[1])
    found = values[rows, columns]
    if len(found) > MAXIMUM_CANDIDATES:
        best = np.argpartition(-found, MAXIMUM_CANDIDATES)[:MAXIMUM_CANDIDATES]
        rows, columns, found = rows[best], columns[best], found[best]
    return rows, columns, found


def output(outputs: Mapping[str, np.ndarray], name: str, axes: int) -> np.ndarray:
    """The named output without its batch axis, which has `axes` axes then; raises EngineError when it is not so."""
    if name not in outputs:
        raise EngineError(
            f"the graph has no output '{name}', only {', '.join(outputs)}: mend 'decoding' in the manifest"
        )
    array = outputs[name]
    if array.ndim != axes + 1 or len(array) != 1:
        raise EngineError(
            f"output '{name}' has the shape {array.shape}: this decoder takes a batch of one, {axes} axes"
        )
    return array[0]


def check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise EngineError when an output's shape is not what classes, strides and input size make it."""
    if found != expected:
        raise EngineError(
            f"output '{name}' has the shape {found} where classes, strides and input size make it {expected}: "
            "mend these in the manifest"
        )
