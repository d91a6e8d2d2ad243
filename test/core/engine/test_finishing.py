# SPDX-License-Identifier: Apache-2.0
"""The last touch to painted pictures: what fades, what stays and what is added, and what a manifest may ask for."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from muon_ad_core.engine.finishing import USUAL, Finish, Finisher
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import EngineError
from muon_ad_core.stylize import Stylizer


def test_softening_fades_a_mesh_of_two_pixels_and_keeps_what_is_even() -> None:
    mesh = np.full((16, 20, 3), 100, np.uint8)
    mesh[::2] = 140
    result = np.empty_like(mesh)
    finish = Finisher(Finish(0.7))
    finish(mesh, mesh, mesh, result)
    assert result.mean() == pytest.approx(120, abs=0.5)
    assert result.std() < 0.7 * mesh.std()
    even = np.full((16, 20, 3), 77, np.uint8)
    finish(even, mesh, mesh, result)
    assert np.array_equal(result, even)
    Finisher(replace(USUAL, softness=0.0))(mesh, even, even, result)
    assert np.array_equal(result, mesh)


def test_detail_of_the_frame_stays_while_what_was_painted_over_it_is_softened() -> None:
    frame = np.random.default_rng(0).integers(40, 200, (16, 20, 3), np.uint8)
    mesh = np.zeros_like(frame)
    mesh[::2] = 40
    result = np.empty_like(frame)
    finish = Finisher(Finish(0.7, keeps_detail=True))
    finish(frame + 20, frame, frame, result)
    assert np.array_equal(result, frame + 20)
    finish(frame + mesh, frame, frame, result)
    added = result.astype(int) - frame
    assert added.mean() == pytest.approx(20, abs=0.5)
    assert added.std() < 0.7 * mesh.std()
    assert np.ptp(added, axis=1).max() <= 1  # the same in every column, whatever the frame
    small = np.full((6, 8, 3), 9, np.uint8)
    result = np.empty_like(small)
    finish(small, small, small, result)
    assert np.array_equal(result, small)


def test_what_was_painted_over_a_smaller_frame_is_added_to_the_frame_enlarged() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (32, 44, 3), np.uint8)
    seen = cv2.resize(frame, (22, 16), interpolation=cv2.INTER_AREA)
    result = np.empty_like(frame)
    finish = Finisher(Finish(0.7, keeps_detail=True))
    finish(seen, seen, frame, result)
    assert np.array_equal(result, frame)
    painted = random.integers(0, 256, seen.shape, np.uint8)
    finish(painted, seen, frame, result)
    over = cv2.GaussianBlur(painted, (3, 3), 0.7).astype(np.float32) - cv2.GaussianBlur(seen, (3, 3), 0.7)
    expected = np.clip(frame + cv2.resize(over, (44, 32)), 0, 255)
    assert np.abs(result - expected).max() <= 3


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_local_contrast_of_the_frame_is_added_to_what_was_painted(share: float) -> None:
    frame = np.full((64, 64, 3), 100, np.uint8)
    frame[:, 32:] = 160
    painted = np.full_like(frame, 120)
    result = np.empty_like(frame)
    Finisher(Finish(0.7, keeps_detail=True, local_contrast=share))(painted, frame, frame, result)
    step = result[32, 34].astype(int) - result[32, 29]
    assert 0.5 * share * 60 < step.min() <= step.max() < share * 60
    np.testing.assert_array_equal(result[:, [0, -1]], 120)  # far from the edge a frame has none


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 2), (5, 50), (37, 61)])
def test_frames_of_any_size_are_finished(height: int, width: int) -> None:
    even = np.full((height, width, 3), 90, np.uint8)
    result = np.zeros_like(even)
    Finisher(USUAL)(even, even, even, result)
    assert np.array_equal(result, even)


@pytest.mark.parametrize("times", [2, 3])
def test_a_picture_painted_smaller_has_the_frame_s_detail_at_full_size(times: int) -> None:
    random = np.random.default_rng(0)
    frame = cv2.resize(random.integers(0, 256, (12, 16, 3), np.uint8), (96, 72), interpolation=cv2.INTER_CUBIC)
    frame = np.clip(frame + random.normal(0, 6, frame.shape), 30, 220).astype(np.uint8)
    seen = cv2.resize(frame, (96 // times, 72 // times), interpolation=cv2.INTER_AREA)
    result = np.empty_like(frame)
    finish = Finisher(Finish(0.7, keeps_detail=True))
    finish(seen, seen, frame, result)
    np.testing.assert_allclose(result.astype(int), frame, atol=1)
    finish(seen + 20, seen, frame, result)
    np.testing.assert_allclose(result.astype(int), frame + 20, atol=1)
    Finisher(Finish(0.7))(seen, seen, frame, result)
    assert np.abs(result.astype(int) - frame).mean() > 2  # blurred


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("keeps_detail", 2, "must be true or false"),
        ("local_contrast", 1.5, "must be from 0 to 1"),
        ("local_contrast", "some", "must be from 0 to 1"),
        *(("softness", value, "must be from 0 to 2") for value in (-1, 3.5, "much", None)),
    ],
)
def test_a_finish_that_makes_no_sense_is_refused(field: str, value: object, told: str) -> None:
    package = EnginePackage.load(find_engine("student"))
    levels = tuple(replace(level, local_contrast=None) for level in package.levels)
    other = EnginePackage(package.root, "mist", "1", "style", levels, {**package.manifest, field: value})
    with pytest.raises(EngineError, match=f"'{field}' of engine mist {told}"):
        Stylizer(other)


def test_a_level_has_its_own_local_contrast() -> None:
    package = EnginePackage.load(find_engine("student"))
    frame = np.random.default_rng(0).integers(80, 170, (96, 128, 3), np.uint8)
    frame = cv2.GaussianBlur(frame, (0, 0), 3)

    def contrast(of_level: float | None, of_package: float) -> float:
        levels = tuple(replace(level, local_contrast=of_level) for level in package.levels)
        manifest = {**package.manifest, "local_contrast": of_package}
        stylizer = Stylizer(EnginePackage(package.root, "mist", "1", "style", levels, manifest))
        return float(stylizer.run(frame).std())

    assert contrast(1.0, 0.0) == contrast(1.0, 0.5) == contrast(None, 1.0) > contrast(None, 0.0) == contrast(0.0, 1.0)


@pytest.mark.parametrize("value", [1.5, -0.1, "some"])
def test_a_local_contrast_of_a_level_that_makes_no_sense_is_refused(value: object) -> None:
    package = EnginePackage.load(find_engine("student"))
    levels = tuple(replace(level, local_contrast=value) for level in package.levels)  # type: ignore[arg-type]
    other = EnginePackage(package.root, "mist", "1", "style", levels, package.manifest)
    with pytest.raises(EngineError, match="'local_contrast' of engine mist, level fast, must be from 0 to 1"):
        Stylizer(other)
