# SPDX-License-Identifier: Apache-2.0
"""Frames of more pixels than a level paints: painted smaller, shown at their size with their own detail."""

from dataclasses import replace
from math import prod

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies
from skimage import data

from muon_ad_core.engine.frames import VGA, painted_size
from muon_ad_core.engine.package import EnginePackage, Level, find_engine
from muon_ad_core.errors import ParameterError
from muon_ad_core.metrics.image import ssim
from muon_ad_core.stylize import Stylizer

MOST_PIXELS = 20_000


def stylizer_of(most_pixels: dict[str, int], scale: float = 1.0, **fields: object) -> Stylizer:
    """The shipped engine, of which only some levels have a limit; all paint at one scale."""
    package = EnginePackage.load(find_engine("student"))
    levels = tuple(replace(each, most_pixels=most_pixels.get(each.name, 10**9), scale=scale) for each in package.levels)
    manifest = {**package.manifest, **fields}
    return Stylizer(EnginePackage(package.root, "student", package.version, "style", levels, manifest), threads=2)


@pytest.fixture
def stylizer() -> Stylizer:
    return stylizer_of({"fast": MOST_PIXELS})


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:240, :320])


def detail(picture: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return (grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).ravel()


@given(strategies.integers(1, 9000), strategies.integers(1, 9000), strategies.integers(1, 2_000_000))
def test_frames_are_shrunk_by_the_least_whole_number(height: int, width: int, most: int) -> None:
    fractions = ((height // times, width // times) for times in range(1, 9002))
    expected = next(size for size in fractions if size[0] * size[1] <= most)
    assert painted_size(height, width, most) == (max(1, expected[0]), max(1, expected[1]))


@given(strategies.integers(1, 2000), strategies.integers(1, 2000), strategies.floats(0.05, 1.0))
def test_a_level_of_a_smaller_scale_paints_smaller_and_never_larger_than_that(
    height: int, width: int, scale: float
) -> None:
    size = painted_size(height, width, 10**9, scale)
    assert size == (max(1, int(height * scale)), max(1, int(width * scale)))
    fewer = painted_size(height, width, max(1, int(height * scale) * int(width * scale) - 1), scale)
    assert fewer[0] <= size[0] and fewer[1] <= size[1]


@pytest.mark.parametrize("size", [(320, 240), (640, 360), (640, 480), (1280, 720), (1920, 1080), (3840, 2160)])
def test_the_shipped_levels_come_cheapest_first_at_every_size(size: tuple[int, int]) -> None:
    def work(level: Level) -> float:
        pixels, usual = (prod(painted_size(*at, level.most_pixels, level.scale)) for at in (size[::-1], VGA))
        return level.macs * pixels / usual

    levels = EnginePackage.load(find_engine("student")).levels
    assert [level.name for level in levels] == ["fast", "light", "medium", "fine"]
    assert sorted(levels, key=work) == list(levels)


def test_three_quarters_of_a_frame_are_painted_unless_the_user_wants_more(photo: np.ndarray) -> None:
    whole, smaller = stylizer_of({}), stylizer_of({}, scale=0.75)
    result = smaller.run(photo).copy()
    expected = whole.run(photo).copy()
    assert result.shape == photo.shape
    assert 0.4 < float(ssim(result, expected)) < 0.99  # strokes of another size
    smaller.set_most_pixels(10**9)
    assert np.array_equal(smaller.run(photo), expected)


@pytest.mark.parametrize("shape", [(240, 320), (241, 323), (7, 4001), (4001, 7)])
def test_the_result_has_the_frame_s_size_and_detail(stylizer: Stylizer, photo: np.ndarray, shape: tuple) -> None:
    frame = cv2.resize(photo, shape[::-1])
    painted = stylizer.run(frame)
    assert painted.shape == frame.shape
    assert np.corrcoef(detail(painted), detail(frame))[0, 1] > 0.7
    assert np.abs(painted.astype(int) - frame).mean() > 10


def test_a_result_can_be_stylised_again(stylizer: Stylizer, photo: np.ndarray) -> None:
    once = stylizer.run(photo)
    expected = stylizer_of({"fast": MOST_PIXELS}).run(once.copy())
    assert np.array_equal(stylizer.run(once), expected)


def test_how_much_is_painted_can_be_asked_for(stylizer: Stylizer, photo: np.ndarray) -> None:
    whole = stylizer_of({})
    stylizer.set_most_pixels(10**9)
    assert np.array_equal(stylizer.run(photo), whole.run(photo))
    whole.set_most_pixels(MOST_PIXELS)
    stylizer.set_most_pixels(0)
    assert np.array_equal(stylizer.run(photo), whole.run(photo))
    with pytest.raises(ParameterError, match="most_pixels must be 0 or more, got -1"):
        stylizer.set_most_pixels(-1)


def test_without_the_frame_s_detail_the_result_is_blurred(stylizer: Stylizer, photo: np.ndarray) -> None:
    blurred = stylizer_of({"fast": MOST_PIXELS}, keeps_detail=False)
    assert detail(blurred.run(photo)).std() < 0.5 * detail(stylizer.run(photo)).std()


def test_a_picture_that_is_its_own_scene_is_painted_at_its_size(stylizer: Stylizer, photo: np.ndarray) -> None:
    whole = stylizer_of({})
    assert np.array_equal(stylizer.run_picture(photo), whole.run(photo))
    assert not np.array_equal(stylizer.run(photo), whole.run(photo))


@pytest.mark.parametrize(("order", "encoding"), [([2, 1, 0], "bgr8"), ([2, 1, 0, 1], "bgra8")])
def test_encodings_and_strides_give_the_same_picture(
    stylizer: Stylizer, photo: np.ndarray, order: list[int], encoding: str
) -> None:
    expected = stylizer.run(photo).copy()
    wide = np.zeros((photo.shape[0], photo.shape[1] + 13, len(order)), np.uint8)
    wide[:, 5:-8] = photo[..., order]
    assert np.array_equal(stylizer.run(wide[:, 5:-8], encoding), expected)
    stylizer.set_strength(0)
    assert np.array_equal(stylizer.run(wide[:, 5:-8], encoding), photo)


def test_a_batch_is_what_its_frames_are_one_by_one(stylizer: Stylizer, photo: np.ndarray) -> None:
    frames = [photo, np.ascontiguousarray(photo[::-1])]
    alone = [stylizer.run(frame).copy() for frame in frames]
    for one, other in zip(alone, stylizer.run_batch(frames)):
        assert np.abs(one.astype(int) - other).mean() < 0.1


def test_levels_that_paint_at_other_sizes_take_turns(stylizer: Stylizer, photo: np.ndarray) -> None:
    stylizer.warm_up(*photo.shape[:2])
    expected = {}
    for level in ("fast", "fine"):
        stylizer.set_level(level)
        stylizer.set_temporal_smoothing(0.6)
        expected[level] = stylizer.run(photo).copy()  # the first of a sequence: nothing is kept of another level
    for level in ("fast", "fine"):
        stylizer.set_level(level)
        stylizer.set_temporal_smoothing(0.6)
        assert np.abs(stylizer.run(photo).astype(int) - expected[level]).mean() < 0.5


def test_a_still_scene_gives_a_still_picture(stylizer: Stylizer, photo: np.ndarray) -> None:
    first = stylizer.run(photo).copy()
    assert np.array_equal(stylizer.run(photo), first)
