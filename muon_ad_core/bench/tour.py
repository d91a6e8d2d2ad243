# SPDX-License-Identifier: Apache-2.0
"""What the demo changes while frames flow, to show live control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STYLES_SHOWN = 4
SWEEP_STEPS = 12
MEASURING = "measuring"
"""The recorder's parameter that marks the measured time."""


@dataclass(frozen=True)
class TourStep:
    """Parameters of style_transfer to set together, `at` seconds after the beginning."""

    at: float
    parameters: dict[str, str | float]


def choose_styles(names: Sequence[str], count: int = STYLES_SHOWN) -> list[str]:
    """Up to `count` of the styles, spread over the list."""
    if len(names) <= count:
        return list(names)
    return [names[index * (len(names) - 1) // (count - 1)] for index in range(count)]


def plan_tour(styles: Sequence[str], seconds: float) -> list[TourStep]:
    """One style alone is kept; several take turns, the last one is blended in, then the strength is halved.

    Raises:
        ValueError: there is no style, or no time.
    """
    if not styles or seconds <= 0.0:
        raise ValueError("a tour needs a style and a time")
    first = TourStep(0.0, {"style": styles[0], "style_b": "", "blend": 0.0, "strength": 1.0})
    if len(styles) == 1:
        return [first]
    turn = seconds / (len(styles) + 1)  # the additional turn is for the blend
    steps = [first]
    steps += [TourStep(number * turn, {"style": style}) for number, style in enumerate(styles[:-1]) if number]
    begin, last = (len(styles) - 1) * turn, styles[-1]
    for step in range(1, SWEEP_STEPS + 1):
        blend = step / SWEEP_STEPS
        steps.append(TourStep(begin + blend * turn, {"style_b": last, "blend": blend}))
    steps.append(TourStep(begin + 1.1 * turn, {"style": last, "style_b": "", "blend": 0.0}))
    steps.append(TourStep(begin + 1.6 * turn, {"strength": 0.5}))
    return steps
