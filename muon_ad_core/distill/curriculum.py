# SPDX-License-Identifier: Apache-2.0
"""The curriculum: what share of the channels is kept at a point of a run (paper, section on curriculum learning)."""

from __future__ import annotations

RETENTION_AT_START = 0.95
RETENTION_AT_END = 0.40


def retention(progress: float, at_end: float = RETENTION_AT_END) -> float:
    """Share of channels kept at `progress` (0..1) of a run: r = 0.95 - 0.55 t/T, linear from 95 % to `at_end`.

    Raises ValueError for a progress outside 0..1.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in 0..1, got {progress}")
    return RETENTION_AT_START - (RETENTION_AT_START - at_end) * progress
