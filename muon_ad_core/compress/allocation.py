# SPDX-License-Identifier: Apache-2.0
"""How many channels each group keeps: the budget of a pruning, spread over the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muon_ad_core.compress.channel_groups import ChannelGroup

MULTIPLE = 32
"""Widths that CPU matrix units and tensor cores run at full speed."""

Curve = Sequence[tuple[int, float]]
"""What narrowing one group does: (channels kept, loss then), from the whole group downwards."""


def channel_costs(groups: Sequence[ChannelGroup], macs: Mapping[str, int]) -> dict[str, float]:
    """{group name: multiply-accumulates that one of its channels costs}, from each layer's {name: macs}.

    A channel costs its share of the layers that write it and of those that read it. Groups must not lie on
    both sides of a layer, else removing from one makes the other's channels cheaper.
    """
    return {group.name: sum(macs[layer] for layer in (*group.layers, *group.readers)) / group.width for group in groups}


def cheapest_widths(curves: Mapping[str, Curve], costs: Mapping[str, float], budget: float) -> dict[str, int]:
    """{group name: channels to keep} that saves `budget` multiply-accumulates for the least loss, step by step.

    Each step narrows the group that loses least for what it saves, as in NetAdapt (Yang et al., ECCV 2018). When all
    curves are at their ends, less than the budget is saved.
    """
    place = dict.fromkeys(curves, 0)
    saved = 0.0
    while saved < budget:
        steps = [
            ((curve[later][1] - curve[place[name]][1]) / _saving(curve, place[name], later, costs[name]), name, later)
            for name, curve in curves.items()
            for later in range(place[name] + 1, len(curve))
        ]
        if not steps:
            break
        _, name, later = min(steps)
        saved += _saving(curves[name], place[name], later, costs[name])
        place[name] = later
    return {name: curve[place[name]][0] for name, curve in curves.items()}


def uniform_widths(
    groups: Sequence[ChannelGroup], costs: Mapping[str, float], budget: float, multiple: int = MULTIPLE
) -> dict[str, int]:
    """{group name: channels to keep}: the same share of every group, in multiples of `multiple` and at least one of
    them, just small enough to save `budget` multiply-accumulates where that can be."""
    kept = {group.name: group.width for group in groups}
    for percent in range(99, 0, -1):
        kept = {group.name: _narrowed(group.width, percent / 100, multiple) for group in groups}
        if sum((group.width - kept[group.name]) * costs[group.name] for group in groups) >= budget:
            break
    return kept


def halved(width: int, multiple: int = MULTIPLE) -> int:
    """About half of a width, in multiples of `multiple`; 0 where there is no such multiple between."""
    return _narrowed(width, 0.5, multiple) if width > multiple else 0


def _narrowed(width: int, share: float, multiple: int) -> int:
    return min(width, max(multiple, round(width * share / multiple) * multiple))


def _saving(curve: Curve, place: int, later: int, cost: float) -> float:
    return (curve[place][0] - curve[later][0]) * cost
