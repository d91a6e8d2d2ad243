# SPDX-License-Identifier: Apache-2.0
"""How many channels each group keeps: the budget of a pruning, spread over the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from muon_ad_core.compress.channel_groups import ChannelGroup

MULTIPLE = 32
"""Widths that CPU matrix units and tensor cores run at full speed."""

Curve = Sequence[tuple[int, float]]
"""What narrowing one group does: (channels kept, loss then), from the whole group downwards."""
Widths = Mapping[str, int]
"""{group name: channels that are kept}."""
Item = TypeVar("Item")
LEAST_SAVING = 1e-9


def channel_costs(groups: Sequence[ChannelGroup], macs: Mapping[str, int]) -> dict[str, float]:
    """{group name: multiply-accumulates that one of its channels costs}, from each layer's {name: macs}.

    A channel costs its share of the layers that write it and of those that read it. Groups must not lie on
    both sides of a layer, else removing from one makes the other's channels cheaper.
    """
    return {group.name: sum(macs[layer] for layer in (*group.layers, *group.readers)) / group.width for group in groups}


def cheapest_widths(curves: Mapping[str, Curve], costs: Mapping[str, float], budget: float) -> dict[str, int]:
    """{group name: channels to keep} that saves `budget` multiply-accumulates for the least loss, step by step.

    costs: multiply-accumulates of one channel of each group. When all curves are at their ends, less is saved.
    """
    whole = sum(curve[0][0] * costs[name] for name, curve in curves.items())

    def cost(widths: Widths) -> float:
        return sum(width * costs[name] for name, width in widths.items())

    return narrowed_step_by_step(curves, cost, lambda widths: whole - cost(widths) >= budget)


def narrowed_step_by_step(
    curves: Mapping[str, Curve], cost: Callable[[Widths], float], enough: Callable[[Widths], bool]
) -> dict[str, int]:
    """Narrow groups until it is `enough`, or all curves are at their ends; {group name: channels to keep}.

    Each step narrows the group that loses least for what it saves, as in NetAdapt (Yang et al., ECCV 2018).
    cost: of a network of such widths, in any unit, such as a measured time; a step that saves nothing comes last.
    """
    place = dict.fromkeys(curves, 0)
    widths = {name: curve[0][0] for name, curve in curves.items()}
    while not enough(widths):
        before = cost(widths)
        steps = []
        for name, curve in curves.items():
            for later in range(place[name] + 1, len(curve)):
                lost = curve[later][1] - curve[place[name]][1]
                saved = before - cost({**widths, name: curve[later][0]})
                # Narrowing that even helps is worth the more, the more it saves.
                worth = lost * max(saved, LEAST_SAVING) if lost < 0 else lost / max(saved, LEAST_SAVING)
                steps.append((saved <= LEAST_SAVING, worth, name, later))
        if not steps:
            break
        _, _, name, later = min(steps)
        place[name] = later
        widths[name] = curves[name][later][0]
    return widths


def uniform_widths(
    groups: Sequence[ChannelGroup], costs: Mapping[str, float], budget: float, multiple: int = MULTIPLE
) -> dict[str, int]:
    """{group name: channels to keep}: the same share of every group, in multiples of `multiple` and at least one of
    them, just small enough to save `budget` multiply-accumulates where that can be."""

    def enough(kept: Widths) -> bool:
        return sum((group.width - kept[group.name]) * costs[group.name] for group in groups) >= budget

    return uniform_until(groups, enough, multiple)


def uniform_until(
    groups: Sequence[ChannelGroup], enough: Callable[[Widths], bool], multiple: int = MULTIPLE
) -> dict[str, int]:
    """The same share of every group, the largest that is `enough`, or the smallest there is."""
    kept = {group.name: group.width for group in groups}
    for percent in range(99, 0, -1):
        kept = {group.name: _narrowed(group.width, percent / 100, multiple) for group in groups}
        if enough(kept):
            break
    return kept


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of the items at even distances."""
    return [items[int((index + 0.5) * len(items) / count)] for index in range(count)]


def multiples_below(width: int, multiple: int = MULTIPLE) -> list[int]:
    """Multiples of `multiple` below a width, falling, without 0."""
    return list(range((width - 1) // multiple * multiple, 0, -multiple))


def halved(width: int, multiple: int = MULTIPLE) -> int:
    """About half of a width, in multiples of `multiple`; 0 where there is no such multiple between."""
    return _narrowed(width, 0.5, multiple) if width > multiple else 0


def _narrowed(width: int, share: float, multiple: int) -> int:
    return min(width, max(multiple, round(width * share / multiple) * multiple))
