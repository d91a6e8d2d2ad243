# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules over a run."""

from __future__ import annotations

import math

SCHEDULES = ("constant", "linear", "cosine", "early")
LEAST = 0.02
"""No schedule falls below this share of the learning rate, so that the last steps still count."""


def schedule_factor(name: str, progress: float) -> float:
    """Factor of the learning rate at `progress` (0..1) of a run; all begin at 1 and never rise.

    constant: 1; linear: to LEAST at the end; cosine: half a cosine to LEAST; early: exponential to LEAST, which spends
    the large steps in the first fifth. Raises ValueError for an unknown name.
    """
    if name == "constant":
        return 1.0
    if name == "linear":
        return LEAST + (1 - LEAST) * (1 - progress)
    if name == "cosine":
        return LEAST + (1 - LEAST) * (1 + math.cos(math.pi * progress)) / 2
    if name == "early":
        return LEAST**progress
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {name}")
