# SPDX-License-Identifier: Apache-2.0
"""How many channels each group keeps: the budget of a pruning, spread over the depth of the network."""

from __future__ import annotations

from collections.abc import Sequence

from muon_ad_core.compress.channel_groups import ChannelGroup

SHALLOW_RATE = 0.25
DEEP_RATE = 0.55
LARGEST_RATE = 0.95
MULTIPLE = 32
"""Widths that CPU matrix units and tensor cores run at full speed."""


def depth_rates(groups: Sequence[ChannelGroup], rate: float) -> list[float]:
    """Share of channels to remove from each group: 25 % (first layer) to 55 % (last), rescaled so that `rate` of all
    channels goes (the paper's depth-dependent pruning). rate 0..1."""
    slopes = [SHALLOW_RATE + (DEEP_RATE - SHALLOW_RATE) * group.depth for group in groups]
    channels = sum(group.width for group in groups)
    scale = rate * channels / sum(slope * group.width for slope, group in zip(slopes, groups))
    return [min(LARGEST_RATE, slope * scale) for slope in slopes]


def kept_widths(groups: Sequence[ChannelGroup], rates: Sequence[float], multiple: int = MULTIPLE) -> dict[str, int]:
    """{group name: channels to keep}, in multiples of `multiple` and at least one of them (narrower groups stay whole).

    The multiples that rounding down leaves over go to the groups that lost most to it, until the channels kept are as
    many as the rates leave (largest remainder method).
    """
    ideal = {group.name: group.width * (1 - rate) for group, rate in zip(groups, rates)}
    widths = {group.name: group.width for group in groups}
    kept = {
        name: widths[name] if widths[name] <= multiple else max(multiple, int(ideal[name]) // multiple * multiple)
        for name in ideal
    }
    budget = sum(ideal.values())
    for name in sorted(ideal, key=lambda name: kept[name] - ideal[name]):
        more = min(kept[name] + multiple, widths[name])
        if sum(kept.values()) + (more - kept[name]) / 2 <= budget and kept[name] < ideal[name]:
            kept[name] = more
    return kept
