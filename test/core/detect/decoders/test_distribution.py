# SPDX-License-Identifier: Apache-2.0
"""Boxes from distance distributions against closed forms, in every layout of the outputs."""

from collections.abc import Callable

import numpy as np
import pytest

from muon_ad_core.detect.decoders.base import Candidates, grid_locations
from muon_ad_core.detect.decoders.distribution import DistributionDecoder, DistributionSettings
from muon_ad_core.errors import EngineError

BINS = 8
STRIDES = (8, 16, 32)
Outputs = dict[str, np.ndarray]


def background(height: int, width: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    locations = len(grid_locations(height, width, STRIDES)[0])
    return np.full((locations, classes), -10, np.float32), np.zeros((locations, 4 * BINS), np.float32)


def decode(
    logits: np.ndarray, bins: np.ndarray, size: tuple[int, int], threshold: float, allowed: np.ndarray | None = None
) -> Candidates:
    decoder = DistributionDecoder(logits.shape[1], STRIDES, DistributionSettings())
    decoder.prepare(*size)
    return decoder.decode({"scores": logits[None], "bins": bins[None]}, threshold, allowed)


def test_locations_run_row_by_row_through_the_strides() -> None:
    centres, strides = grid_locations(32, 64, STRIDES)
    assert len(centres) == 4 * 8 + 2 * 4 + 1 * 2
    assert centres[:3].tolist() == [[4, 4], [12, 4], [20, 4]]
    assert centres[8].tolist() == [4, 12]
    assert centres[-1].tolist() == [48, 16]
    assert strides[[0, 31, 32, 40, 41]].tolist() == [8, 8, 16, 32, 32]


def test_certain_bins_give_exact_sides() -> None:
    logits, bins = background(64, 64)
    location = 64 + 5  # second row, second column of stride 16: centre (24, 24)
    logits[location, 2] = 2.0
    for side, distance in enumerate((1, 0, 2, 3)):
        bins[location, side * BINS + distance] = 50
    found = decode(logits, bins, (64, 64), 0.35)
    assert found.boxes.tolist() == [[24 - 16, 24, 24 + 32, 24 + 48]]
    assert found.scores == pytest.approx([1 / (1 + np.exp(-2))])
    assert found.labels.tolist() == [2]


def test_flat_bins_give_the_mean_distance() -> None:
    logits, bins = background(64, 64)
    logits[27, 0] = 0  # stride 8, centre (28, 28)
    found = decode(logits, bins, (64, 64), 0.35)
    assert found.boxes[0] == pytest.approx(np.array([28 - 28, 28 - 28, 28 + 28, 28 + 28]))
    assert found.scores[0] == pytest.approx(0.5)


def test_threshold_is_strict_and_classes_can_be_chosen() -> None:
    logits, bins = background(32, 32)
    logits[0, 0], logits[0, 1], logits[5, 2] = 0.0, 3.0, 1.0
    assert sorted(decode(logits, bins, (32, 32), 0.5).labels.tolist()) == [1, 2]
    only = np.array([False, False, True])
    assert decode(logits, bins, (32, 32), 0.3, only).labels.tolist() == [2]


def test_nothing_above_the_threshold() -> None:
    found = decode(*background(32, 32), (32, 32), 0.35)
    assert found.boxes.shape == (0, 4)
    assert len(found.scores) == len(found.labels) == 0


def test_flood_of_candidates_keeps_the_best() -> None:
    logits, bins = background(320, 320)
    logits[:, 0] = np.linspace(0, 3, len(logits))
    found = decode(logits, bins, (320, 320), 0.35)
    assert len(found.scores) == 300
    assert found.scores.min() == pytest.approx(1 / (1 + np.exp(-logits[-300, 0])), abs=1e-3)


def joined(scores: np.ndarray, bins: np.ndarray) -> Outputs:
    return {"out": np.concatenate([scores, bins], axis=1)[None]}


def a_pair_for_each_stride(scores: np.ndarray, bins: np.ndarray) -> Outputs:
    outputs, first = {}, 0
    for number, stride in enumerate(STRIDES):
        last = first + (64 // stride) ** 2
        outputs |= {f"cls{number}": scores[None, first:last], f"dis{number}": bins[None, first:last]}
        first = last
    return outputs


@pytest.mark.parametrize("arrange", [joined, a_pair_for_each_stride])
def test_every_layout_of_outputs_says_the_same(arrange: Callable[[np.ndarray, np.ndarray], Outputs]) -> None:
    rng = np.random.default_rng(0)
    locations = len(background(64, 64)[0])
    logits, bins = rng.normal(0, 3, (locations, 3)), rng.normal(0, 3, (locations, 4 * BINS))
    expected = decode(logits, bins, (64, 64), 0.6)
    outputs = arrange(1 / (1 + np.exp(-logits)), bins)
    decoder = DistributionDecoder(3, STRIDES, DistributionSettings(tuple(outputs), "probabilities"))
    decoder.prepare(64, 64)
    found = decoder.decode(outputs, 0.6)
    assert len(found.boxes) == len(expected.boxes) > 10
    assert found.boxes == pytest.approx(expected.boxes, abs=1e-3)
    assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert found.labels.tolist() == expected.labels.tolist()


def test_points_may_be_the_cells_corners() -> None:
    logits, bins = background(64, 64)
    logits[9, 0] = 3.0  # stride 8, second row and column
    bins[:, ::BINS] = 50
    decoder = DistributionDecoder(3, STRIDES, DistributionSettings(cell_offset=0))
    decoder.prepare(64, 64)
    assert decoder.decode({"scores": logits[None], "bins": bins[None]}, 0.5).boxes.tolist() == [[8, 8, 8, 8]]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"scores": np.zeros((1, 84, 3))}, "no output 'bins'"),
        ({"scores": np.zeros((84, 3)), "bins": np.zeros((1, 84, 32))}, "batch of one"),
        ({"scores": np.zeros((1, 85, 3)), "bins": np.zeros((1, 85, 32))}, r"shape \(85, 3\) where .* \(84, 3\)"),
        ({"scores": np.zeros((1, 84, 4)), "bins": np.zeros((1, 84, 32))}, r"shape \(84, 4\)"),
        ({"scores": np.zeros((1, 84, 3)), "bins": np.zeros((1, 84, 31))}, "'bins' has the shape"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs: Outputs, message: str) -> None:
    decoder = DistributionDecoder(3, STRIDES, DistributionSettings())
    decoder.prepare(64, 64)
    with pytest.raises(EngineError, match=message):
        decoder.decode(outputs, 0.5)
