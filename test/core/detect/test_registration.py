# SPDX-License-Identifier: Apache-2.0
"""Depth registered to a colour camera, against closed forms of two pinhole cameras."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.detect.registration import DepthRegistration, undistort
from muon_ad_core.sources.calibration import Calibration, pinhole

WIDTH, HEIGHT, FOCAL = 64, 48, 60.0
SAME_AXES = np.eye(3)
NOWHERE = np.zeros(3)


def camera(scale: float = 1.0, d: tuple[float, ...] = (0.0,) * 5, model: str = "plumb_bob") -> Calibration:
    """A camera with the same field of view at every scale; pixel centres are at whole numbers."""
    width, height = round(WIDTH * scale), round(HEIGHT * scale)
    focal = (FOCAL * scale, FOCAL * scale)
    return pinhole(width, height, focal, ((width - 1) / 2, (height - 1) / 2), model, d)


def wall(millimetres: int = 2000) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), millimetres, np.uint16)


def test_one_camera_in_one_place_keeps_its_picture() -> None:
    depth = np.random.default_rng(0).integers(1, 65535, (HEIGHT, WIDTH)).astype(np.uint16)
    registered = DepthRegistration(camera(), camera(), SAME_AXES, NOWHERE).register(depth)
    assert registered.dtype == np.uint16
    assert np.array_equal(registered, depth)


@pytest.mark.parametrize("millimetres", [600, 1200])
def test_a_wall_moves_by_focal_length_times_baseline_over_distance(millimetres: int) -> None:
    depth = wall(millimetres)
    depth[:, 40:] = 0  # so that an edge shows
    baseline = 0.1  # colour stands to the right: everything appears further left
    registered = DepthRegistration(camera(), camera(), SAME_AXES, np.array([-baseline, 0, 0])).register(depth)
    edge = 40 - round(FOCAL * baseline / millimetres * 1000)
    assert (registered[:, :edge] == millimetres).all()
    assert not registered[:, edge:].any()


def test_the_nearest_of_several_points_counts() -> None:
    depth = wall(3000)
    depth[20:30, 30:40] = 1000
    registered = DepthRegistration(camera(), camera(), SAME_AXES, np.array([-0.1, 0, 0])).register(depth)
    assert (registered[20:30, 24:34] == 1000).all()  # moved by 6 pixels, the wall behind it by 2
    assert not registered[20:30, 34:38].any()  # what the object hides from the depth camera
    assert (registered[20:30, 38:] != 1000).all()


@pytest.mark.parametrize("scale", [0.5, 1.7, 2.0, 3.0])
def test_a_picture_of_another_size_has_no_gaps(scale: float) -> None:
    color = camera(scale)
    registered = DepthRegistration(camera(), color, SAME_AXES, NOWHERE).register(wall())
    assert registered.shape == (color.height, color.width)
    assert (registered == 2000).all()


def test_a_slanted_surface_that_is_stretched_has_no_cracks() -> None:
    depth = np.tile(np.linspace(1000, 1600, WIDTH), (HEIGHT, 1)).astype(np.uint16)
    translation = np.array([0.2, 0, 0])
    registered = DepthRegistration(camera(), camera(), SAME_AXES, translation).register(depth)
    columns = np.flatnonzero(registered.any(axis=0))
    inside = registered[:, columns[0] : columns[-1] + 1]
    assert (inside > 0).all()


def test_points_follow_rotation_and_translation() -> None:
    angle = 0.1
    rotation = cv2.Rodrigues(np.array([0.0, angle, 0.0]))[0]
    translation = np.array([0.03, -0.02, 0.3])
    depth = np.zeros((HEIGHT, WIDTH), np.uint16)
    depth[30, 20] = 1500
    x, y, z = rotation @ (np.array([(20 - 31.5) / FOCAL, (30 - 23.5) / FOCAL, 1.0]) * 1.5) + translation
    registered = DepthRegistration(camera(), camera(), rotation, translation).register(depth)
    (row,), (column,) = np.nonzero(registered)
    assert (column, row) == (round(FOCAL * x / z + 31.5), round(FOCAL * y / z + 23.5))
    assert registered[row, column] == pytest.approx(1000 * z, abs=1)


@pytest.mark.parametrize(
    ("d", "model"), [((0.2, -0.1, 0.002, -0.001, 0.0), "plumb_bob"), ((0.1, 0.02, 0.0, 0.0), "equidistant")]
)
def test_the_lens_of_the_colour_camera_is_followed(d: tuple[float, ...], model: str) -> None:
    color = camera(d=d, model=model)
    depth = np.tile(1000 + 10 * np.arange(WIDTH), (HEIGHT, 1)).astype(np.uint16)
    registered = DepthRegistration(camera(2.0), color, SAME_AXES, NOWHERE).register(depth.repeat(2, 0).repeat(2, 1))
    pixels = np.array([[10, 12], [31, 23], [50, 40]])
    ideal = undistort(color, pixels)
    assert np.abs(ideal - pixels).max() > 0.5
    for (column, row), (x, _) in zip(pixels, ideal):
        assert registered[row, column] == pytest.approx(1000 + 10 * x, abs=12)


def test_what_lies_behind_the_colour_camera_or_was_not_measured_is_left_out() -> None:
    depth = wall(500)
    depth[:10], depth[10:20] = 0, 65535
    registered = DepthRegistration(camera(), camera(), SAME_AXES, np.array([0, 0, -1.0])).register(depth)
    assert not registered.any()


def test_metres_give_what_millimetres_give() -> None:
    registration = DepthRegistration(camera(), camera(), SAME_AXES, np.array([-0.05, 0.01, 0]))
    metres = wall().astype(np.float32) / 1000
    metres[5:9], metres[9, 3] = np.nan, np.inf
    millimetres = wall()
    millimetres[5:9], millimetres[9, 3] = 0, 0
    assert np.array_equal(registration.register(metres), registration.register(millimetres))


def test_a_picture_that_does_not_fit_its_calibration_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(10, 10\)"):
        DepthRegistration(camera(), camera(), SAME_AXES, NOWHERE).register(np.zeros((10, 10), np.uint16))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    axis=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    translation=st.tuples(*[st.floats(-2.0, 2.0)] * 3),
)
def test_whatever_the_geometry_depths_are_those_of_points(seed: int, axis: tuple, translation: tuple) -> None:
    depth = np.random.default_rng(seed).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    rotation = cv2.Rodrigues(np.array(axis))[0]
    registered = DepthRegistration(camera(), camera(0.7), rotation, np.array(translation)).register(depth)
    rays = np.dstack(np.meshgrid((np.arange(WIDTH) - 31.5) / FOCAL, (np.arange(HEIGHT) - 23.5) / FOCAL))
    valid = (depth > 0) & (depth < 65535)
    points = np.concatenate([rays, np.ones((HEIGHT, WIDTH, 1))], axis=2)[valid] * depth[valid, None]
    z = np.rint(points @ rotation[2] + 1000 * translation[2])
    known = np.unique(registered[registered > 0]).astype(float)
    assert all(np.abs(z - value).min() <= 1 for value in known)
