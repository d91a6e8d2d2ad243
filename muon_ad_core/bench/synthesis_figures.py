# SPDX-License-Identifier: Apache-2.0
"""Painted pictures compared at equal content: what style a method reaches while the photograph is changed no more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MIDDLE = 1
"""Place of middle strength among a method's three."""


@dataclass(frozen=True)
class Painted:
    """Figures of one picture: distance from the photograph, and distances from the style by name; small is good."""

    strength: float
    content: float
    style: Mapping[str, float]
    seconds: float = 0.0


@dataclass(frozen=True)
class PairResult:
    """One photograph in one style: the unchanged photograph, and what every method made, by strength.

    painted: the most faithful first, at least two.
    """

    pair: str
    unchanged: Painted
    painted: Mapping[str, list[Painted]]

    def middle(self, method: str) -> Painted:
        """The method's picture of middle strength."""
        return self.painted[method][MIDDLE]


def style_at(pictures: Sequence[Painted], unchanged: Painted, content: float, measure: str) -> float:
    """The least style distance along a method's curve where its content distance is at most `content`.

    The curve begins at the unchanged photograph and runs straight from picture to picture in the order of their content
    distances. A method that never goes so far is taken at its best: it is not punished for what it leaves.
    """
    curve = sorted([(0.0, unchanged.style[measure]), *((p.content, p.style[measure]) for p in pictures)])
    places, values = zip(*curve, strict=True)
    reached = [value for place, value in curve if place <= content]
    return float(min([*reached, np.interp(content, places, values)]))


def at_equal_content(results: Sequence[PairResult], ours: str, measure: str) -> dict[str, list[float]]:
    """For every method and pair the style distance at the content distance of our picture of middle strength."""
    found: dict[str, list[float]] = {name: [] for name in results[0].painted}
    for result in results:
        level = reference_level(result, ours)
        for name, pictures in result.painted.items():
            found[name].append(style_at(pictures, result.unchanged, level, measure))
    return found


def reference_level(result: PairResult, ours: str) -> float:
    """Content distance at which a pair is compared: that of our picture of middle strength."""
    return result.middle(ours).content


def table(results: Sequence[PairResult], ours: str) -> dict[str, dict[str, Any]]:
    """By method: means over pairs of its pictures of middle strength, and of style distances at equal content.

    better_than_ours: share of the pairs in which the method's distance at equal content is below ours.
    """
    measures = list(results[0].unchanged.style)
    equal = {measure: at_equal_content(results, ours, measure) for measure in measures}
    rows: dict[str, dict[str, Any]] = {}
    for name in results[0].painted:
        middle = [result.middle(name) for result in results]
        row: dict[str, Any] = {
            "content": _mean([p.content for p in middle]),
            "seconds": _mean([p.seconds for p in middle]),
        }
        for measure in measures:
            values, wanted = equal[measure][name], equal[measure][ours]
            row[f"{measure}, as painted"] = _mean([p.style[measure] for p in middle])
            row[f"{measure}, equal content"] = _mean(values)
            row[f"{measure}, better than ours"] = _mean([float(a < b) for a, b in zip(values, wanted, strict=True)])
        rows[name] = row
    return rows


def summarise(rows: Mapping[str, Mapping[str, Any]], ours: str, measures: Sequence[str]) -> dict[str, float | None]:
    """Flat figures: ours, and ours by each method's at equal content, where below 1 ours is better."""
    found: dict[str, float | None] = {"content": rows[ours]["content"], "seconds": rows[ours]["seconds"]}
    for measure in measures:
        key = f"{measure}, equal content"
        found[measure] = rows[ours][key]
        for name, row in rows.items():
            if name != ours:
                found[f"{measure}_by_{name.replace(' ', '_')}"] = rows[ours][key] / row[key] if row[key] else None
    return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
