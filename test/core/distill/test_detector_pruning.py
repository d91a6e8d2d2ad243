# SPDX-License-Identifier: Apache-2.0
"""Pruned detectors: their shape, their answer, and that they can be stored and trained on."""

import pytest
import torch

from muon_ad_core.compress.export import layer_macs
from muon_ad_core.distill.detector_pruning import (
    DetectorPruning,
    channel_groups,
    drop_blocks,
    prune_at_once,
    rebuilt,
    without_blocks,
)
from muon_ad_core.errors import UserError
from muon_ad_core.nets.detector import DetectorNet, DetectorShape

SHAPE = DetectorShape(classes=5, widths=(64, 96, 128), blocks=(1, 2, 1), pyramid=64)


@pytest.fixture()
def network() -> DetectorNet:
    torch.manual_seed(0)
    return DetectorNet(SHAPE).eval()


@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_a_pruned_network_has_its_shape_and_still_answers(network: DetectorNet, method: str) -> None:
    whole = layer_macs(network, torch.zeros(1, 3, 64, 64))
    pruned = prune_at_once(network, DetectorPruning(0.3, method), seed=1).eval()
    assert sum(layer_macs(pruned, torch.zeros(1, 3, 64, 64)).values()) <= 0.7 * sum(whole.values())
    assert pruned.shape.widths == SHAPE.widths
    assert all(width % 32 == 0 for stage in pruned.shape.inner for width in stage)
    scores, bins = pruned(torch.rand(1, 3, 64, 96))
    assert scores.shape == (1, 126, 5) and bins.shape == (1, 126, 32)


def test_its_shape_survives_the_manifest(network: DetectorNet) -> None:
    pruned = prune_at_once(network, DetectorPruning(0.5, "magnitude"), seed=0)
    again = DetectorNet(DetectorShape.from_dict(pruned.shape.as_dict()))
    again.load_state_dict(pruned.state_dict())
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again.eval()(picture), pruned.eval()(picture))


def test_shapes_of_older_packages_are_read() -> None:
    values = {key: value for key, value in SHAPE.as_dict().items() if key not in ("inner", "towers")}
    assert DetectorShape.from_dict(values) == SHAPE


def test_rebuilding_changes_nothing(network: DetectorNet) -> None:
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(rebuilt(network).eval()(picture), network(picture))


@pytest.mark.parametrize(("rate", "left"), [(0.01, 3), (0.99, 0)])
def test_layerdrop_takes_out_whole_blocks(network: DetectorNet, rate: float, left: int) -> None:
    dropped = drop_blocks(network, rate).eval()
    assert sum(dropped.shape.blocks) == left
    assert dropped(torch.rand(1, 3, 64, 64))[0].shape == (1, 84, 5)


def test_a_block_without_its_inner_channels_is_no_block(network: DetectorNet) -> None:
    picture = torch.rand(1, 3, 64, 64)
    block = network.stages[1][2]  # type: ignore[index]
    for parameter in block.second.norm.parameters():
        torch.nn.init.zeros_(parameter)
    expected = network(picture)
    left = without_blocks(network, {(1, 1)}).eval()
    assert left.shape.blocks == (1, 1, 1)
    torch.testing.assert_close(left(picture), expected)


def test_blocks_and_towers_can_be_narrowed_and_nothing_else(network: DetectorNet) -> None:
    names = [group.name for group in channel_groups(network).groups]
    inner = [f"stages.{stage}.{block}.first.conv" for stage, block in ((0, 1), (1, 1), (1, 2), (2, 1))]
    assert names == [*inner, "class_towers.0.conv", "box_towers.0.conv"]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        DetectorPruning(rate)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(UserError, match="choose gradual"):
        DetectorPruning(0.4, "best")
