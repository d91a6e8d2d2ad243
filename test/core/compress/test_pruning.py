# SPDX-License-Identifier: Apache-2.0
"""Pruning: budgets, importance, silencing, and removal that does not change the answer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from muon_ad_core.compress import importance
from muon_ad_core.compress.allocation import channel_costs, cheapest_widths, halved, uniform_widths
from muon_ad_core.compress.channel_groups import ChannelGroup, ChannelGroups
from muon_ad_core.compress.export import layer_macs
from muon_ad_core.compress.importance import GradientImportance, scaled
from muon_ad_core.compress.pruning import ChannelPruner
from muon_ad_core.compress.sensitivity import sensitivity_curves


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
    return [ChannelGroup(str(i), (str(i),), (), (), width, 0.0) for i, width in enumerate(widths)]


@given(WIDTHS, st.floats(0.05, 0.9))
def test_uniform_widths_save_the_budget_in_multiples_where_that_can_be(widths: list[int], rate: float) -> None:
    groups = groups_with(widths)
    costs = {group.name: 1.0 for group in groups}
    kept = uniform_widths(groups, costs, rate * sum(widths))
    assert all(kept[group.name] % 32 == 0 and 32 <= kept[group.name] <= group.width for group in groups)
    saved = sum(widths) - sum(kept.values())
    assert saved >= rate * sum(widths) or all(value == 32 for value in kept.values())


CURVES = st.lists(st.lists(st.floats(0, 10), min_size=2, max_size=2), min_size=1, max_size=6)


@given(CURVES, st.floats(0, 1))
def test_cheapest_widths_save_the_budget_or_all_there_is(losses: list[list[float]], rate: float) -> None:
    curves = {str(i): [(64, 0.0), (32, half), (0, none)] for i, (half, none) in enumerate(losses)}
    kept = cheapest_widths(curves, dict.fromkeys(curves, 2.0), rate * 128 * len(curves))
    saved = sum(2.0 * (64 - width) for width in kept.values())
    assert saved >= rate * 128 * len(curves) - 1e-6 or not any(kept.values())


def test_what_costs_little_and_saves_much_goes_first() -> None:
    curves = {"needed": [(64, 1.0), (32, 3.0), (0, 9.0)], "idle": [(64, 1.0), (32, 1.2), (0, 1.3)]}
    assert cheapest_widths(curves, {"needed": 1.0, "idle": 1.0}, 20) == {"needed": 64, "idle": 0}
    assert cheapest_widths(curves, {"needed": 100.0, "idle": 1.0}, 20) == {"needed": 32, "idle": 64}
    assert cheapest_widths(curves, {"needed": 1.0, "idle": 1.0}, 0) == {"needed": 64, "idle": 64}


def test_channels_cost_their_share_of_writers_and_readers(network: Skip) -> None:
    groups = groups_of(network).groups
    macs = layer_macs(network, torch.zeros(1, 3, 8, 8))
    assert macs == {"first": 64 * 8 * 27, "inner": 64 * 6 * 72, "outer": 64 * 8 * 54, "head": 64 * 2 * 8}
    free = next(group for group in groups if group.name == "inner")
    assert (free.layers, free.readers) == (("inner",), ("outer",))
    assert channel_costs([free], macs) == {"inner": 64 * (72 + 8 * 9)}


def test_sensitivity_measures_the_loss_without_a_group(network: Skip) -> None:
    picture = torch.rand(4, 3, 8, 8)
    network.norm.momentum = None
    network.norm.reset_running_stats()
    network.train()(picture)
    expected = network.eval()(picture).detach()

    def loss(candidate: Skip) -> float:
        candidate(picture)
        with torch.no_grad():
            return float((candidate.eval()(picture) - expected).square().mean())

    groups = groups_of(network).groups
    scores = importance.magnitude(layers_of(network))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    curves = sensitivity_curves(network, groups, scores, ["inner"], loss)
    assert [width for width, _ in curves["inner"]] == [6, 0]
    assert curves["inner"][0][1] == pytest.approx(0, abs=1e-9)
    assert curves["inner"][1][1] > 1e-4
    assert [width for width, _ in curves["first"]] == [8]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("width", "half"), [(16, 0), (32, 0), (64, 32), (96, 64), (160, 64), (256, 128)])
def test_halves_are_multiples(width: int, half: int) -> None:
    assert halved(width) == half
