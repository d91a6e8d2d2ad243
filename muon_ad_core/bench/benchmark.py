# SPDX-License-Identifier: Apache-2.0
"""What every benchmark hands back. `result_file` writes it in the one JSON layout that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muon_ad_core.bench.witness import Stalls

LOWER, HIGHER, NEITHER = "lower", "higher", "neither"
"""Which values of a series are better."""


@dataclass(frozen=True)
class Series:
    """Raw samples of one quantity; each run of a repeated measurement is a list of its own."""

    unit: str
    runs: Sequence[Sequence[float]]
    better: str = NEITHER


@dataclass(frozen=True)
class Histogram:
    """Counts of one quantity between ascending `edges`; there is one edge more than counts."""

    unit: str
    edges: Sequence[float]
    counts: Sequence[int]
    better: str = NEITHER


@dataclass(frozen=True)
class Picture:
    """A picture for reports: JPEG bytes and what it shows."""

    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class Measurement:
    """The figures of one benchmark; all values are plain JSON, and names of keys say the unit."""

    config: Mapping[str, Any]
    """What was asked for, enough to repeat it."""
    results: Mapping[str, Any]
    """Everything measured, in the benchmark's own form."""
    summary: Mapping[str, float | int | str | None]
    """The few figures that goals are about, flat."""
    text: str
    """The same for a terminal."""
    inputs: Sequence[Mapping[str, Any]] = ()
    """Files that were read, as `inputs.describe_input` tells them."""
    samples: Mapping[str, Series] = field(default_factory=dict)
    """Raw values by name; `compare` makes confidence intervals of them, `report` plots."""
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    """Where raw values would be too many."""
    stalls: Stalls | None = None
    """What a witness saw meanwhile; None when time does not matter to the figures."""
    pictures: Sequence[Picture] = ()
