# SPDX-License-Identifier: Apache-2.0
"""The phases of a run, and what share of its channels a network keeps meanwhile (paper, curriculum and pruning)."""

from __future__ import annotations

PHASE_ENDS = (1 / 6, 1 / 2, 1.0)
RETENTION_AT_START = 0.95
RETENTION_AT_END = 0.40


def retention(progress: float, at_end: float = RETENTION_AT_END) -> float:
    """Share of channels kept at `progress` (0..1) of a run: r = 0.95 - 0.55 t/T, linear from 95 % to `at_end`.

    Raises ValueError for a progress outside 0..1.
    """
    _check(progress)
    return RETENTION_AT_START - (RETENTION_AT_START - at_end) * progress


def phase(progress: float) -> int:
    """Phase 1, 2 or 3 at `progress` (0..1) of a run; raises ValueError outside 0..1."""
    _check(progress)
    return 1 + sum(progress >= end for end in PHASE_ENDS[:2])


def _check(progress: float) -> None:
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in 0..1, got {progress}")
