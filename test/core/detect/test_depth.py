# SPDX-License-Identifier: Apache-2.0
"""Boxes placed in space against closed forms of the pinhole camera."""

import numpy as np
import pytest

from muon_ad_core.detect.depth import core_depth, place, to_millimetres

CAMERA = np.array([[500.0, 0, 320], [0, 400.0, 240], [0, 0, 1]])
BOX = np.array([270.0, 200, 470, 360])


def wall(millimetres: int) -> np.ndarray:
    return np.full((480, 640), millimetres, np.uint16)


def test_flat_wall_is_placed_exactly() -> None:
    placed = place(wall(2000), BOX, CAMERA)
    assert placed is not None
    assert placed.position == pytest.approx([(370 - 320) / 500 * 2, (280 - 240) / 400 * 2, 2])
    assert placed.size == pytest.approx([200 / 500 * 2, 160 / 400 * 2, 0])
    assert np.sqrt(np.diag(placed.covariance)) == pytest.approx([2 / 500, 2 / 400, 0.001], rel=0.01)


def test_background_at_the_rims_and_holes_do_not_count() -> None:
    depth = wall(5000)
    depth[220:340, 300:440] = 1500  # the object: it covers the core, not the whole box
    depth[230:250, 310:430] = 0
    depth[250:255, 310:430] = 65535
    assert core_depth(depth, BOX) == pytest.approx((1.5, 0))


def test_float_metres_with_nan_give_the_same() -> None:
    depth = np.full((480, 640), 2.5, np.float32)
    depth[::2] = np.nan
    depth[1::4] = np.inf
    assert core_depth(depth, BOX) == pytest.approx((2.5, 0))


def test_spread_is_the_robust_deviation_along_the_ray() -> None:
    rng = np.random.default_rng(0)
    depth = (2000 + 50 * rng.standard_normal((480, 640))).astype(np.uint16)
    depth[rng.random(depth.shape) < 0.1] = 9000  # outliers
    median, deviation = core_depth(depth, BOX)  # type: ignore[misc]
    assert median == pytest.approx(2.0, rel=0.01)
    assert deviation == pytest.approx(0.05, rel=0.3)
    placed = place(depth, BOX, CAMERA)
    assert placed is not None
    assert np.linalg.eigvalsh(placed.covariance).min() > 0
    assert placed.covariance[2, 2] == pytest.approx(deviation**2)


@pytest.mark.parametrize("depth", [wall(0), wall(65535), np.full((480, 640), np.nan, np.float32)])
def test_unknown_depth_places_nothing(depth: np.ndarray) -> None:
    assert place(depth, BOX, CAMERA) is None


def test_box_outside_the_depth_image_places_nothing() -> None:
    assert place(wall(1000), np.array([700.0, 500, 800, 600]), CAMERA) is None


@pytest.mark.parametrize("box", [[-300.0, -200, -100, -50], [np.nan] * 4, [0, 0, np.inf, 10], [50, 50, 50, 50]])
def test_boxes_that_are_none_place_nothing(box: list[float]) -> None:
    assert place(wall(1000), np.array(box), CAMERA) is None


def test_covariance_can_be_inverted_however_flat_the_surface() -> None:
    placed = place(wall(1000), BOX, CAMERA)
    assert placed is not None
    assert np.linalg.eigvalsh(placed.covariance).min() > 0


def test_millimetres_hold_what_is_valid() -> None:
    metres = np.array([1.2345, np.nan, np.inf, -np.inf, -1.0, 0.0, 65.534, 65.535, 1e9])
    assert to_millimetres(metres).tolist() == [1234, 0, 0, 0, 0, 0, 65534, 0, 0]
    assert to_millimetres(np.array([0, 7, 65534, 65535], np.uint16)).tolist() == [0, 7, 65534, 0]


def test_a_lens_s_distortion_is_taken_out_of_the_place_and_not_of_the_depth() -> None:
    depth = wall(5000)
    depth[200:360, 270:470] = 2000  # where the box is in the picture
    ideal = BOX + np.array([5.0, -3, 15, 7])
    placed = place(depth, BOX, CAMERA, ideal)
    assert placed is not None
    assert placed.position == pytest.approx([(380 - 320) / 500 * 2, (282 - 240) / 400 * 2, 2])
    assert placed.size[:2] == pytest.approx([210 / 500 * 2, 170 / 400 * 2])
