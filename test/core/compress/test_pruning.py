# SPDX-License-Identifier: Apache-2.0
"""Pruning: budgets, importance, silencing, and removal that does not change the answer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from muon_ad_core.compress import importance
from muon_ad_core.compress.allocation import depth_rates, kept_widths
from muon_ad_core.compress.channel_groups import ChannelGroup, ChannelGroups
from muon_ad_core.compress.importance import GradientImportance, scaled
from muon_ad_core.compress.pruning import ChannelPruner


class Skip(nn.Module):
    """Two convolutions tied by a sum, one free one, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 6, 3, padding=1)
        self.outer = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x))
        return self.head(x + self.outer(self.inner(x).relu()))


@pytest.fixture()
def network() -> Skip:
    torch.manual_seed(0)
    return Skip().eval()


def groups_of(network: Skip) -> ChannelGroups:
    return ChannelGroups(network, torch.zeros(1, 3, 8, 8), keep=[network.head])


def layers_of(network: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]


def test_layers_that_are_summed_share_their_channels(network: Skip) -> None:
    tied, free = groups_of(network).groups
    assert (tied.layers, tied.norms, tied.width) == (("first", "outer"), ("norm",), 8)
    assert (free.layers, free.norms, free.width) == (("inner",), (), 6)


def test_tracing_leaves_the_network_as_it_was(network: Skip) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    groups_of(network)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_removing_silenced_channels_changes_nothing(network: Skip) -> None:
    pruner = ChannelPruner(groups_of(network), {"first": 3, "inner": 2})
    pruner.choose(importance.random(layers_of(network), 1), 1.0)
    pruner.silence(network)
    picture = torch.rand(2, 3, 8, 8)
    silenced = network(picture)
    pruner.remove()
    assert (network.first.out_channels, network.inner.out_channels, network.head.in_channels) == (3, 2, 3)
    torch.testing.assert_close(network(picture), silenced)


def test_the_schedule_bounds_how_much_goes(network: Skip) -> None:
    pruner = ChannelPruner(groups_of(network), {"first": 2, "inner": 6})
    scores = {name: torch.linspace(0, 1, layer.out_channels) for name, layer in layers_of(network)}
    counts = []
    for progress in (0.0, 0.3, 0.6, 0.9, 1.0):
        pruner.choose(scores, progress)
        counts.append(int(pruner.kept["first"].sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 8 and counts[-1] == 2
    assert pruner.kept["first"].tolist() == [False] * 6 + [True] * 2
    assert pruner.kept["inner"].all()


def test_silenced_channels_stay_silenced(network: Skip) -> None:
    pruner = ChannelPruner(groups_of(network), {"first": 4, "inner": 6})
    pruner.choose({name: torch.linspace(0, 1, layer.out_channels) for name, layer in layers_of(network)}, 1.0)
    chosen = pruner.kept["first"].clone()
    pruner.choose({name: torch.linspace(1, 0, layer.out_channels) for name, layer in layers_of(network)}, 1.0)
    assert torch.equal(pruner.kept["first"], chosen)


def test_importance_follows_the_formula() -> None:
    layer = nn.Conv2d(1, 3, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0, -3.0]).view(3, 1, 1, 1))
    tracker = GradientImportance([("layer", layer)], weight_decay=0.1)
    layer.weight.grad = torch.tensor([0.5, 0.0, -0.25]).view(3, 1, 1, 1)
    tracker.update()
    # One update: a gradient over its own size is 1, or 0 where there is none.
    torch.testing.assert_close(tracker.scores()["layer"], scaled(torch.tensor([1 + 0.1, 0.4, 1 + 0.9])))


def test_importance_wants_a_gradient_first() -> None:
    with pytest.raises(ValueError, match="no gradient"):
        GradientImportance([("layer", nn.Conv2d(1, 2, 1))], weight_decay=0.0).scores()


def test_importance_goes_on_from_its_state() -> None:
    layer = nn.Conv2d(2, 4, 3)
    whole, first, second = (GradientImportance([("layer", layer)], 0.01) for _ in range(3))
    for step in range(4):
        layer.weight.grad = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(step))
        whole.update()
        (first if step < 2 else second).update()
        if step == 1:
            second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second.scores()["layer"], whole.scores()["layer"], rtol=0, atol=0)


def test_magnitude_ranks_filters_by_their_norm() -> None:
    layer = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -5.0, 3.0]).view(3, 1, 1, 1))
    torch.testing.assert_close(importance.magnitude([("layer", layer)])["layer"], torch.tensor([0.0, 1.0, 0.5]))


WIDTHS = st.lists(st.integers(1, 16).map(lambda n: n * 32), min_size=1, max_size=12)


def groups_with(widths: list[int]) -> list[ChannelGroup]:
    last = max(1, len(widths) - 1)
    return [ChannelGroup(str(i), (str(i),), (), width, i / last) for i, width in enumerate(widths)]


@given(WIDTHS, st.floats(0.05, 0.9))
def test_kept_widths_are_multiples_within_one_of_the_ideal(widths: list[int], rate: float) -> None:
    groups = groups_with(widths)
    rates = depth_rates(groups, rate)
    kept = kept_widths(groups, rates)
    for group, share in zip(groups, rates):
        assert kept[group.name] % 32 == 0
        assert 32 <= kept[group.name] <= group.width
        assert abs(kept[group.name] - max(32, group.width * (1 - share))) < 32


@given(WIDTHS, st.floats(0.05, 0.5))
def test_depth_rates_meet_the_budget_and_grow_with_depth(widths: list[int], rate: float) -> None:
    groups = groups_with(widths)
    rates = depth_rates(groups, rate)
    removed = sum(share * group.width for share, group in zip(rates, groups))
    assert rates == sorted(rates)
    if rates[-1] < 0.95:
        assert removed == pytest.approx(rate * sum(widths))


def test_narrow_groups_stay_whole() -> None:
    assert kept_widths(groups_with([32, 64]), [0.4, 0.4]) == {"0": 32, "1": 32}
