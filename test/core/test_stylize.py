# SPDX-License-Identifier: Apache-2.0
"""The stylizer on the shipped engine: sizes, strength, blending, levels, new styles, smoothing, errors."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data

from muon_ad_core.engine.frames import EDGES_FIELD
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import EngineError, ParameterError, StyleError
from muon_ad_core.palette import Palette
from muon_ad_core.stylize import Stylizer


@pytest.fixture(scope="module")
def package() -> EnginePackage:
    return EnginePackage.load(find_engine("student"))


@pytest.fixture
def stylizer(package: EnginePackage) -> Stylizer:
    return Stylizer(package, threads=2)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[:240, :320])


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


def test_at_least_eight_styles_that_differ(stylizer: Stylizer, photo: np.ndarray) -> None:
    assert len(stylizer.style_names()) >= 8
    pictures = []
    for name in stylizer.style_names():
        stylizer.set_style(name)
        pictures.append(stylizer.run(photo).copy())
    for index, picture in enumerate(pictures):
        assert difference(picture, photo) > 10
        assert all(difference(picture, other) > 2 for other in pictures[:index])


@pytest.mark.parametrize("shape", [(1, 1), (3, 300), (33, 97), (241, 319), (64, 64)])
def test_any_size_at_every_level(stylizer: Stylizer, shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for level in stylizer.levels():
        stylizer.set_level(level)
        painted = stylizer.run(frame)
        assert painted.shape == frame.shape
        assert painted.dtype == np.uint8


def test_strided_frames_are_taken(stylizer: Stylizer, photo: np.ndarray) -> None:
    straight = stylizer.run(np.ascontiguousarray(photo[::2, ::2])).copy()
    assert np.array_equal(stylizer.run(photo[::2, ::2]), straight)


def test_strength_goes_from_the_input_to_the_style(stylizer: Stylizer, photo: np.ndarray) -> None:
    full = stylizer.run(photo).copy()
    stylizer.set_strength(0.5)
    half = stylizer.run(photo).copy()
    stylizer.set_strength(0.0)
    assert np.array_equal(stylizer.run(photo), photo)
    assert difference(half, (full.astype(int) + photo) // 2) <= 1


def test_blend_goes_from_one_style_to_the_other(stylizer: Stylizer, photo: np.ndarray) -> None:
    first, second = stylizer.style_names()[:2]

    def painted(*arguments: object) -> np.ndarray:
        stylizer.set_style(*arguments)  # type: ignore[arg-type]
        return stylizer.run(photo).copy()

    pure, other = painted(first), painted(second)
    assert np.array_equal(painted(first, second, 0.0), pure)
    assert np.array_equal(painted(first, second, 1.0), other)
    between = painted(first, second, 0.5)
    assert difference(between, pure) < difference(other, pure)
    assert difference(between, other) < difference(other, pure)


def test_a_picture_becomes_a_style(stylizer: Stylizer, photo: np.ndarray) -> None:
    red = np.zeros((90, 120, 3), np.uint8)
    red[..., 0] = 220
    stylizer.add_style("red", red)
    stylizer.add_style("green", red[..., [1, 0, 2]])
    assert stylizer.style_names()[-2:] == ["red", "green"]
    stylizer.set_style("red")
    first = stylizer.run(photo).mean(axis=(0, 1))
    stylizer.set_style("green")
    second = stylizer.run(photo).mean(axis=(0, 1))
    assert first[0] - first[1] > second[0] - second[1]


def test_colours_are_moved_to_those_of_the_styles_picture(stylizer: Stylizer, photo: np.ndarray) -> None:
    wanted = stylizer.style("van_gogh_wheat_field").palette
    assert wanted is not None
    stylizer.set_style("van_gogh_wheat_field")

    def far(share: float) -> float:
        stylizer.set_palette(share)
        return float(np.abs(Palette.of(stylizer.run(photo)).to_array() - wanted.to_array()).sum())

    assert far(0.5) < 0.8 * far(0.0)  # all the way, the frame's own detail comes on top
    with pytest.raises(ParameterError, match="palette must be from 0 to 1"):
        stylizer.set_palette(1.5)


def test_a_style_without_a_palette_is_shown_as_painted(stylizer: Stylizer, photo: np.ndarray) -> None:
    """Files that older releases wrote have none."""
    stylizer.keep_style("older", replace(stylizer.style("munch_scream"), palette=None))
    shown = []
    for style, share in (("older", 1.0), ("munch_scream", 0.0), ("munch_scream", 1.0)):
        stylizer.set_style(style)
        stylizer.set_palette(share)
        shown.append(stylizer.run(photo).copy())
    assert np.array_equal(shown[0], shown[1]) and not np.array_equal(shown[0], shown[2])


@pytest.mark.parametrize(
    "style", ["hokusai_great_wave", "van_doesburg_composition", "mondrian_composition", "vallotton_mauclair"]
)
@pytest.mark.parametrize("grey", [40, 150])
def test_no_line_is_painted_along_a_border(stylizer: Stylizer, style: str, grey: int) -> None:
    """Of a grey frame, rows and columns near a border differ no more from those around them than in the middle."""
    stylizer.set_style(style)
    for level in stylizer.levels():
        stylizer.set_level(level)
        painted = stylizer.run(np.full((240, 320, 3), grey, np.uint8)).astype(float)
        for lines in (painted.mean(axis=(1, 2)), painted.mean(axis=(0, 2))):
            steps = [abs(lines[i] - np.median(lines[max(0, i - 6) : i + 7])) for i in range(len(lines))]
            assert max(steps[:14] + steps[-14:]) < max(1.0, 2 * max(steps[60:-60]))  # nobody sees a grey level


def test_an_engine_for_frames_with_a_border_is_refused(package: EnginePackage) -> None:
    older = {key: value for key, value in package.manifest.items() if key != EDGES_FIELD}
    with pytest.raises(EngineError, match="muon-ad engine export"):
        Stylizer(replace(package, manifest=older))


def test_all_of_a_wide_picture_counts(stylizer: Stylizer) -> None:
    thirds = np.random.default_rng(0).integers(0, 256, (3, 60, 60, 3), dtype=np.uint8)
    for name, third in zip("abc", thirds):
        stylizer.add_style(name, third)
    stylizer.add_style("wide", np.concatenate(list(thirds), axis=1))
    expected = np.mean([stylizer.style(name).code for name in "abc"], axis=0)
    np.testing.assert_allclose(stylizer.style("wide").code, expected, atol=1e-5)


def test_a_still_scene_gives_a_still_picture(stylizer: Stylizer, photo: np.ndarray) -> None:
    first = stylizer.run(photo).copy()
    assert np.array_equal(stylizer.run(photo), first)


def test_smoothing_calms_strokes_of_a_moving_scene_and_leaves_its_detail(stylizer: Stylizer, photo: np.ndarray) -> None:
    frames = [np.ascontiguousarray(photo[20 : 20 + 176, 3 * step : 3 * step + 240]) for step in range(6)]

    def painted(smoothing: float) -> tuple[float, float]:
        """Difference between two frames where the scene is the same, and how much of the last one's detail is shown."""
        stylizer.set_temporal_smoothing(smoothing)
        results = [stylizer.run(frame).copy() for frame in frames]
        shown, own = (
            cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
            for picture in (results[-1], frames[-1])
        )
        return difference(results[-1][:, :-3], results[-2][:, 3:]), float((shown * own).sum() / (own * own).sum())

    flicker, detail = painted(0.0)
    calmer, kept = painted(0.6)
    assert calmer < 0.7 * flicker
    assert kept > 0.9 * detail


def test_the_picture_fades_where_a_level_paints_at_another_size(stylizer: Stylizer, photo: np.ndarray) -> None:
    def after_a_change(smoothing: float) -> list[float]:
        """What is painted in the frames after it differs by so much from what was painted before it."""
        stylizer.set_temporal_smoothing(smoothing)
        stylizer.set_level("fine")
        before = [stylizer.run(photo).copy() for _ in range(12)][-1]
        stylizer.set_level("light")
        return [difference(stylizer.run(photo), before) for _ in range(12)]

    jump, fading = after_a_change(0.0), after_a_change(0.6)
    assert fading[0] < 0.6 * jump[0]
    assert all(after > before - 0.01 * jump[0] for before, after in itertools.pairwise(fading))
    assert fading[-1] > 0.9 * jump[-1]


def test_nothing_is_kept_of_another_scene(stylizer: Stylizer, photo: np.ndarray) -> None:
    stylizer.set_temporal_smoothing(0.0)
    other = np.ascontiguousarray(255 - photo)
    expected = stylizer.run(other).copy()
    stylizer.set_temporal_smoothing(0.9)
    stylizer.run(photo)
    assert difference(stylizer.run(other), expected) < 2


@pytest.mark.parametrize("order, encoding", [([2, 1, 0], "bgr8"), ([0, 1, 2, 0], "rgba8"), ([2, 1, 0, 1], "bgra8")])
def test_encodings_give_the_same_picture(
    stylizer: Stylizer, photo: np.ndarray, order: list[int], encoding: str
) -> None:
    expected = stylizer.run(photo).copy()
    assert np.array_equal(stylizer.run(np.ascontiguousarray(photo[..., order]), encoding), expected)
    wide = np.zeros((photo.shape[0], photo.shape[1] + 13, len(order)), np.uint8)  # rows with a stride of their own
    wide[:, 5:-8] = photo[..., order]
    assert np.array_equal(stylizer.run(wide[:, 5:-8], encoding), expected)
    stylizer.set_strength(0)
    assert np.array_equal(stylizer.run(wide[:, 5:-8], encoding), photo)


def test_a_batch_is_what_its_frames_are_one_by_one(stylizer: Stylizer, photo: np.ndarray) -> None:
    frames = [photo, np.ascontiguousarray(photo[::-1]), 255 - photo]
    for level in stylizer.levels():
        stylizer.set_level(level)
        alone = [stylizer.run(frame).copy() for frame in frames]
        together = stylizer.run_batch(frames)
        assert all(difference(a, b) < 0.1 for a, b in zip(alone, together))
    stylizer.set_strength(0.5)
    half = stylizer.run_batch(frames)
    assert difference(half[2], (alone[2].astype(int) + frames[2]) // 2) <= 1
    with pytest.raises(ParameterError, match="of one size"):
        stylizer.run_batch([photo, photo[1:]])


def test_output_buffer_is_used_again(stylizer: Stylizer, photo: np.ndarray) -> None:
    stylizer.warm_up(*photo.shape[:2])
    first = stylizer.run(photo)
    assert stylizer.run(photo) is first


def test_errors_name_what_is_wrong(stylizer: Stylizer, photo: np.ndarray) -> None:
    with pytest.raises(StyleError, match=f"unknown style 'nothing': choose one of {stylizer.style_names()[0]}"):
        stylizer.set_style("nothing")
    with pytest.raises(ParameterError, match="blend must be from 0 to 1"):
        stylizer.set_style(stylizer.style_names()[0], "", 1.5)
    with pytest.raises(ParameterError, match="strength must be from 0 to 1"):
        stylizer.set_strength(-0.1)
    with pytest.raises(EngineError, match="no level 'huge'"):
        stylizer.set_level("huge")
    with pytest.raises(ParameterError, match="a frame must be RGB uint8"):
        stylizer.run(photo[..., 0])
    with pytest.raises(ParameterError, match="encoding 'yuv' are not taken: use one of rgb8"):
        stylizer.run(photo, "yuv")
    with pytest.raises(StyleError, match="must be RGB uint8"):
        stylizer.add_style("grey", photo[..., 0])


def test_detection_engine_is_refused(package: EnginePackage) -> None:
    other = EnginePackage(package.root, "eyes", "1", "detection", package.levels, package.manifest)
    with pytest.raises(EngineError, match="eyes is for detection, not for style"):
        Stylizer(other)


def test_without_a_softness_the_result_is_sharper(package: EnginePackage, photo: np.ndarray) -> None:
    manifest = {name: value for name, value in package.manifest.items() if name != "softness"}
    sharp = Stylizer(EnginePackage(package.root, package.name, "1", "style", package.levels, manifest)).run(photo)
    soft = Stylizer(package).run(photo)
    assert difference(sharp[1:], sharp[:-1]) > difference(soft[1:], soft[:-1])
