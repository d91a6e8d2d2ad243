# SPDX-License-Identifier: Apache-2.0
"""Boxes placed in space against closed forms of the pinhole camera."""

import numpy as np
import pytest

from muon_ad_core.detect.depth import core_depth, place

CAMERA = np.array([[500.0, 0, 320], [0, 400.0, 240], [0, 0, 1]])
BOX = np.array([270.0, 200, 470, 360])


def wall(millimetres: int) -> np.ndarray:
    return np.full((480, 640), millimetres, np.uint16)


def test_flat_wall_is_placed_exactly() -> None:
    placed = place(wall(2000), BOX, CAMERA)
    assert placed is not None
    assert placed.position == pytest.approx([(370 - 320) / 500 * 2, (280 - 240) / 400 * 2, 2])
    assert placed.size == pytest.approx([200 / 500 * 2, 160 / 400 * 2, 0])
    assert np.sqrt(np.diag(placed.covariance)) == pytest.approx([2 / 500, 2 / 400, 0])


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
