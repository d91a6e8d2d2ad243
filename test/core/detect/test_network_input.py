# SPDX-License-Identifier: Apache-2.0
"""Pictures on their way into a graph, against what each setting means pixel by pixel; boxes on their way back."""

from __future__ import annotations

import numpy as np
import pytest

from muon_ad_core.detect.network_input import NetworkInput, Preprocessing
from muon_ad_core.detect.settings import read_settings
from muon_ad_core.errors import EngineError

MEAN, DEVIATION = (103.5, 116.3, 123.7), (57.4, 57.1, 58.4)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def planes(**settings: object) -> Preprocessing:
    return Preprocessing(input="x", layout="planes", **settings)  # type: ignore[arg-type]


def test_normalisation_and_channel_order() -> None:
    rgb = picture(32, 64)
    preprocessing = planes(channels="BGR", mean=MEAN, deviation=DEVIATION)
    array = NetworkInput(rgb.shape, (32, 64), 32, 1, preprocessing).fill(rgb)["x"]
    expected = (rgb[:, :, ::-1].astype(np.float64) - MEAN) / DEVIATION
    assert array.shape == (1, 3, 32, 64) and array.dtype == np.float32
    assert array[0].transpose(1, 2, 0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "shape", "corner"),
    [
        ({"cut": True, "align": "corner"}, (32, 64), (0, 0)),
        ({"cut": True, "align": "centre"}, (32, 64), (4, 0)),
        ({"cut": False, "align": "corner"}, (64, 64), (0, 0)),
        ({"cut": False, "align": "centre"}, (64, 64), (20, 0)),
    ],
)
def test_letterbox(settings: dict[str, object], shape: tuple[int, int], corner: tuple[int, int]) -> None:
    """A picture of 24x64, which fits a 64x64 input as it is."""
    rgb = picture(24, 64)
    network_input = NetworkInput(rgb.shape, (64, 64), 32, 1, planes(padding=114, **settings))
    assert (network_input.rows, network_input.columns) == shape
    array = network_input.fill(rgb)["x"][0].transpose(1, 2, 0)
    top, left = corner
    assert (array[top : top + 24, left : left + 64] == rgb).all()
    assert (np.delete(array, np.s_[top : top + 24], axis=0) == 114).all()
    boxes, visible = network_input.to_picture(np.array([[left, top, left + 10, top + 12], [0, top + 24, 9, top + 30]]))
    assert boxes[0].tolist() == [0, 0, 10, 12]
    assert visible.tolist() == [True, False]


def test_letterbox_scales_boxes_back() -> None:
    network_input = NetworkInput((48, 128, 3), (64, 64), 32, 1, planes(align="centre"))
    boxes, _ = network_input.to_picture(np.array([[8.0, 4 + 6, 16, 4 + 12]]))
    assert boxes.tolist() == [[16, 12, 32, 24]]


def test_stretching_changes_the_aspect() -> None:
    rgb = np.zeros((50, 200, 3), np.uint8)
    rgb[:, 100:] = 255
    network_input = NetworkInput(rgb.shape, (64, 64), 16, 1, planes(fit="stretch"))
    array = network_input.fill(rgb)["x"]
    assert array.shape == (1, 3, 64, 64)
    assert (array[..., :31] == 0).all() and (array[..., 33:] == 255).all()
    boxes, _ = network_input.to_picture(np.array([[32.0, 0, 64, 64]]))
    assert boxes.tolist() == [[100, 0, 200, 50]]


def test_focus_stacks_the_pixels_of_each_cell() -> None:
    """The order of YOLOX's Focus module: left top, left bottom, right top, right bottom."""
    rgb = picture(32, 32)
    array = NetworkInput(rgb.shape, (32, 32), 32, 1, Preprocessing(input="x", layout="focus")).fill(rgb)["x"]
    whole = rgb.transpose(2, 0, 1)
    parts = [whole[:, ::2, ::2], whole[:, 1::2, ::2], whole[:, ::2, 1::2], whole[:, 1::2, 1::2]]
    assert (array[0] == np.concatenate(parts)).all()


def test_the_next_picture_replaces_the_one_before() -> None:
    first, second = picture(32, 32), picture(32, 32)[::-1].copy()
    network_input = NetworkInput(first.shape, (32, 32), 32, 1, planes())
    network_input.fill(first)
    assert (network_input.fill(second)["x"][0].transpose(1, 2, 0) == second).all()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"fitting": "stretch"}, "no setting 'fitting'"),
        ({"fit": "crop"}, "fit must be one of letterbox, stretch, not 'crop'"),
        ({"layout": "planes", "mean": [1, 2]}, "mean must be 3 numbers"),
        ({"layout": "planes", "mean": "grey"}, "mean must be 3 numbers"),
        ({"layout": "planes", "deviation": [1, 0, 1]}, "deviation must not be 0"),
        ({"padding": 300}, "padding must be 0 to 255"),
        ({"cut": 1}, "cut must be true or false"),
        ({"channels": "BGR"}, "packed input is RGB as it comes"),
        (["RGB"], "must be an object"),
    ],
)
def test_wrong_settings_are_one_sentence(entry: object, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        read_settings(Preprocessing, entry, "'preprocessing' of engine x")
    assert str(caught.value).startswith("'preprocessing' of engine x")


def test_without_an_entry_all_are_defaults() -> None:
    assert read_settings(Preprocessing, None, "here") == Preprocessing()
