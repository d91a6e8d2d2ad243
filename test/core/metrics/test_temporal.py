# SPDX-License-Identifier: Apache-2.0
"""The warping error: zero where motion explains everything, the noise's power where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from muon_ad_core.metrics.temporal import TemporalWarpingError, estimate_flow, warp, warping_error
from muon_ad_core.sources.scene import SceneSource

SHIFT = (3, 2)  # pixels a frame, x and y


def scroll(picture: NDArray[np.uint8], frames: int) -> list[NDArray[np.uint8]]:
    return [np.roll(picture, (number * SHIFT[1], number * SHIFT[0]), axis=(0, 1)) for number in range(frames)]


def constant_flow(shape: tuple[int, ...], x: float, y: float) -> NDArray[np.float32]:
    return np.broadcast_to(np.array([x, y], np.float32), (*shape[:2], 2)).copy()


def test_a_perfectly_warped_sequence_has_no_error(photographs: NDArray[np.uint8]) -> None:
    error = TemporalWarpingError()
    flow = constant_flow(photographs[0].shape, *SHIFT)
    flow += np.random.default_rng(0).normal(0.0, 2.0, flow.shape).astype(np.float32)
    picture = photographs[0].astype(np.float32)
    for _ in range(4):
        error.add(picture, flow, np.ones(flow.shape[:2], bool))
        picture = warp(picture, flow)[0]
    assert len(error.values) == 3
    assert error.mean == 0.0


def test_whole_pixels_of_motion_have_no_error_beside_the_border(photographs: NDArray[np.uint8]) -> None:
    first, second = scroll(photographs[0], 2)
    flow = constant_flow(first.shape, *SHIFT)
    seen = np.ones(first.shape[:2], bool)
    assert warping_error(second, first, flow, seen) == 0.0
    assert warping_error(second, first, constant_flow(first.shape, 0.0, 0.0), seen) > 1e-3


def test_flicker_is_measured_by_its_power(photographs: NDArray[np.uint8]) -> None:
    still = constant_flow(photographs[0].shape, 0.0, 0.0)
    darker = photographs[0].astype(np.float64) - 25.5
    error = warping_error(darker, photographs[0].astype(np.float64), still, np.ones(still.shape[:2], bool))
    assert error == pytest.approx(0.01)


def test_hidden_points_are_left_out(photographs: NDArray[np.uint8]) -> None:
    still = constant_flow(photographs[0].shape, 0.0, 0.0)
    changed = photographs[0].copy()
    changed[:20] = 255 - changed[:20]
    valid = np.ones(still.shape[:2], bool)
    valid[:20] = False
    assert warping_error(changed, photographs[0], still, valid) == 0.0
    assert math.isnan(warping_error(changed, photographs[0], still, np.zeros_like(valid)))


def test_estimated_flow_is_near_the_true_one_where_it_is_trusted() -> None:
    source = SceneSource("motorcycle", width=320, height=240)
    previous = source.frame(10, with_second=False).color.copy()
    frame = source.frame(11, with_flow=True, with_second=False)
    assert frame.flow is not None and frame.flow_valid is not None
    flow, trusted = estimate_flow(previous, frame.color)
    both = trusted & frame.flow_valid
    assert both.mean() > 0.7
    assert np.median(np.linalg.norm(flow - frame.flow, axis=2)[both]) < 0.3
    estimated = warping_error(frame.color, previous, flow, both)
    assert estimated < warping_error(frame.color, previous, np.zeros_like(flow), both)
