# SPDX-License-Identifier: Apache-2.0
"""The detector network: outputs by location, and the same outputs in training and in use."""

import pytest

torch = pytest.importorskip("torch", reason="the making wing needs PyTorch")

from muon_ad_core.nets.detector import (  # noqa: E402
    STRIDES,
    ConvBlock,
    DetectorNet,
    DetectorShape,
    deepened,
    distances,
    grid_locations,
)

SHAPE = DetectorShape(classes=3, stem=32, widths=(32, 32, 32), blocks=(1, 1, 1), pyramid=32)


def test_every_location_has_scores_and_distances() -> None:
    network = DetectorNet(SHAPE).eval()
    scores, bins = network(torch.rand(2, 3, 64, 96))
    centres, strides = grid_locations(64, 96)
    assert len(centres) == len(strides) == 8 * 12 + 4 * 6 + 2 * 3
    assert scores.shape == (2, len(centres), 3)
    assert bins.shape == (2, len(centres), 4 * SHAPE.bins)
    assert [strides.tolist().count(stride) for stride in STRIDES] == [96, 24, 6]
    assert centres[0].tolist() == [4, 4]
    assert centres[-1].tolist() == [80, 48]


def test_a_deeper_network_says_the_same_at_first() -> None:
    torch.manual_seed(0)
    network = DetectorNet(SHAPE).eval()
    deeper = deepened(network, (1, 2, 3)).eval()
    assert (deeper.shape.blocks, deeper.shape.inner) == ((1, 2, 3), ((32,), (32, 32), (32, 32, 32)))
    picture = torch.rand(1, 3, 64, 96)
    for expected, found in zip(network(picture), deeper(picture)):
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="take blocks out"):
        deepened(deeper, (1, 1, 3))


def test_levels_keep_their_own_statistics() -> None:
    """Once the running statistics are those of the data, use and training give the same, at every stride.

    Towers shared by the strides would fail here: their statistics differ, and use would see the mixture.
    """
    torch.manual_seed(0)
    network = DetectorNet(SHAPE)
    torch.nn.init.normal_(network.class_head.weight)
    for level, lateral in enumerate(network.laterals):
        assert isinstance(lateral, ConvBlock)
        torch.nn.init.constant_(lateral.norm.weight, 10.0 ** (2 - level))  # levels of very different scale
    pictures = torch.rand(4, 3, 128, 128)
    with torch.no_grad():
        for _ in range(80):
            trained, _ = network.train()(pictures)
        used, _ = network.eval()(pictures)
    assert (trained - used).abs().mean() < 0.1 * trained.std()


def test_distances_are_the_expected_bin() -> None:
    logits = torch.full((1, 32), -30.0)
    for side, position in enumerate((0, 3, 7, 2)):
        logits[0, side * 8 + position] = 30.0
    assert distances(logits, 8).tolist() == [pytest.approx([0, 3, 7, 2])]
    assert distances(torch.zeros(1, 32), 8).tolist() == [pytest.approx([3.5] * 4)]
