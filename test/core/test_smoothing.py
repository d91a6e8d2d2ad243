# SPDX-License-Identifier: Apache-2.0
"""Temporal smoothing: it calms what flickers, moves with the scene, and keeps nothing of what changed."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from muon_ad_core.metrics.temporal import TemporalWarpingError
from muon_ad_core.smoothing import SceneSmoother

Pixels = NDArray[np.uint8]
SIZE = (320, 240)
SMALL = (96, 72)
SCENE = np.asarray(cv2.resize(data.coffee(), (480, 360), interpolation=cv2.INTER_AREA), np.uint8)


def view(x: float, y: float, size: tuple[int, int] = SIZE) -> Pixels:
    """What a camera sees of the scene when it has moved by (x, y) pixels."""
    matrix = np.array([[1, 0, -80 - x], [0, 1, -60 - y]], float)
    seen = cv2.warpAffine(SCENE, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.uint8)


def flickering(frame: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, 12, frame.shape)
    return np.clip(frame.astype(float) + noise, 0, 255).astype(np.uint8)


def smoothed(frames: list[Pixels], painted: list[Pixels], share: float) -> list[Pixels]:
    smoother = SceneSmoother(*frames[0].shape[:2])
    results = [picture.copy() for picture in painted]
    for frame, result in zip(frames, results):
        smoother.follow(frame)
        smoother.smooth(result, share)
    return results


@settings(max_examples=25)
@given(st.floats(-6, 6), st.floats(-6, 6), st.sampled_from([SIZE, SMALL]))
def test_flicker_of_a_moving_scene_is_calmed(x: float, y: float, size: tuple[int, int]) -> None:
    frames = [view(x * step, y * step, size) for step in range(5)]
    painted = [flickering(frame, seed) for seed, frame in enumerate(frames)]
    # The camera moves one way, what it sees the other.
    flow = np.broadcast_to(np.array([-x, -y], np.float32), (*size[::-1], 2))
    errors = []
    for pictures in (painted, smoothed(frames, painted, 0.5)):
        metric = TemporalWarpingError()
        for picture in pictures:
            metric.add(picture, flow, np.ones(size[::-1], bool))
        assert metric.mean is not None
        errors.append(metric.mean)
    assert errors[1] < 0.6 * errors[0]


def test_a_still_scene_comes_to_rest() -> None:
    frames = [view(0, 0)] * 12
    painted = [flickering(frames[0], seed) for seed in range(2)] + [flickering(frames[0], 2)] * 10
    results = smoothed(frames, painted, 0.5)
    assert np.abs(results[-1].astype(int) - painted[-1]).max() <= 2
    assert np.array_equal(results[-1], results[-2])


def test_nothing_is_kept_of_another_scene_or_of_what_came_in() -> None:
    frames = [view(0, 0), 255 - view(0, 0)]
    painted = [np.full_like(frames[0], 20), np.full_like(frames[0], 220)]
    result = smoothed(frames, painted, 0.9)[1]
    assert np.mean(result == 220) > 0.95
    frames = [view(0, 0), view(8.5, 0)]
    result = smoothed(frames, painted, 0.5)[1]
    assert np.all(result[:, -8:] == 220)  # the camera moved to the right
    assert np.mean(result[:, :-9] == 120) > 0.9


def test_an_object_that_moves_alone_leaves_no_ghost() -> None:
    frames = [view(0, 0), view(0, 0)]
    frames[0][100:140, 60:100] = (250, 20, 20)
    frames[1][100:140, 160:200] = (250, 20, 20)
    result = smoothed(frames, [frame.copy() for frame in frames], 0.7)[1]
    assert np.abs(result.astype(int) - frames[1])[100:140, 60:200].mean() < 1


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (33, 97), (241, 319)])
def test_any_size(shape: tuple[int, int]) -> None:
    frames = [np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8) for seed in range(3)]
    for result in smoothed(frames, frames, 0.5):
        assert result.shape == (*shape, 3)


def test_what_was_forgotten_does_not_show() -> None:
    smoother = SceneSmoother(*SIZE[::-1])
    frame = view(0, 0)
    smoother.follow(frame)
    smoother.smooth(np.full_like(frame, 20), 0.9)
    smoother.forget()
    result = np.full_like(frame, 220)
    assert smoother.follow(view(2, 0)) == (0, 0)
    smoother.smooth(result, 0.9)
    assert np.all(result == 220)


def test_a_sequence_goes_on_at_a_larger_size() -> None:
    """A scene full of detail that the smaller picture did not have is the same scene."""
    scene = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    large = cv2.resize(scene, SIZE, interpolation=cv2.INTER_NEAREST)
    smaller, larger = SceneSmoother(60, 80), SceneSmoother(*SIZE[::-1])
    smaller.follow(cv2.resize(scene, (80, 60), interpolation=cv2.INTER_AREA))
    smaller.smooth(np.full((60, 80, 3), 20, np.uint8), 0.5)
    larger.go_on_from(smaller)
    result = np.full_like(large, 220)
    larger.follow(large)
    larger.smooth(result, 0.5)
    assert not larger.another_scene
    assert np.mean(result == 120) > 0.9
