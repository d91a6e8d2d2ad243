# SPDX-License-Identifier: Apache-2.0
"""Colours are moved to a palette: mean and covariance come out as wanted; noise and single odd frames do no harm."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import data

from muon_ad_core.palette import FLOOR, MOST_GAIN, PaintedColours, Palette, move_colours

ASTRONAUT = cv2.resize(data.astronaut(), (160, 120))
COFFEE = cv2.resize(data.coffee(), (160, 120))
SPREADS = st.floats(8.0, 70.0)


def matched(picture: np.ndarray, wanted: Palette, share: float) -> np.ndarray:
    result = picture.copy()
    move_colours(result, Palette.of(picture), wanted, share)
    return result


@st.composite
def palettes(draw: st.DrawFn) -> Palette:
    turn, _ = np.linalg.qr(draw(arrays(np.float64, (3, 3), elements=st.floats(-1, 1))) + 2 * np.eye(3))
    variances = np.array([draw(SPREADS) for _ in range(3)]) ** 2
    mean = np.array([draw(st.floats(0, 255)) for _ in range(3)])
    return Palette(mean.astype(np.float32), ((turn * variances) @ turn.T).astype(np.float32))


def test_a_palette_is_mean_and_covariance() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)  # so small that all of it is seen
    palette = Palette.of(colours)
    np.testing.assert_allclose(palette.mean, colours.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(palette.covariance, np.cov(colours.reshape(-1, 3).T, bias=True), rtol=1e-3, atol=0.5)


@given(palettes(), palettes())
def test_the_map_brings_one_palette_to_another(found: Palette, wanted: Palette) -> None:
    """A C A^T = W with the floor on both sides, where no contrast is raised too far; A is symmetric and positive."""
    matrix = found.map_to(wanted, 1.0).astype(float)
    linear, floor = matrix[:, :3], FLOOR**2 * np.eye(3)
    np.testing.assert_allclose(linear, linear.T, atol=1e-4)
    gains = np.linalg.eigvalsh(linear)
    assert gains.min() > 0 and gains.max() <= MOST_GAIN + 1e-4
    np.testing.assert_allclose(linear @ found.mean + matrix[:, 3], wanted.mean, atol=0.1)
    if gains.max() < MOST_GAIN - 1e-3:
        moved = linear @ (found.covariance + floor) @ linear.T
        np.testing.assert_allclose(moved, wanted.covariance + floor, rtol=1e-2, atol=2.0)


@given(palettes(), palettes(), st.floats(0, 1))
def test_a_share_is_the_way_to_the_map(found: Palette, wanted: Palette, share: float) -> None:
    nothing = np.column_stack([np.eye(3), np.zeros(3)])
    expected = (1 - share) * nothing + share * found.map_to(wanted, 1.0)
    np.testing.assert_allclose(found.map_to(wanted, share), expected, atol=1e-3)
    np.testing.assert_allclose(found.map_to(found, share), nothing, atol=0.02)


def test_a_photograph_gets_the_colours_of_another() -> None:
    wanted = Palette.of(COFFEE)
    half, whole = matched(ASTRONAUT, wanted, 0.5), matched(ASTRONAUT, wanted, 1.0)
    np.testing.assert_array_equal(matched(ASTRONAUT, wanted, 0.0), ASTRONAUT)

    def far(picture: np.ndarray) -> float:
        return float(np.abs(Palette.of(picture).to_array() - wanted.to_array()).sum())

    assert far(whole) < 0.35 * far(ASTRONAUT)  # what lies outside 0..255 is cut off
    assert far(whole) < far(half) < far(ASTRONAUT)


def test_the_noise_of_a_covered_lens_stays_faint() -> None:
    noise = np.random.default_rng(0).normal(20, 1.5, (120, 160, 3)).clip(0, 255).astype(np.uint8)
    assert matched(noise, Palette.of(COFFEE), 1.0).std(axis=(0, 1)).max() < 2 * MOST_GAIN


def test_palettes_survive_being_written() -> None:
    palette = Palette.of(COFFEE)
    again = Palette.from_array(palette.to_array())
    np.testing.assert_array_equal(again.mean, palette.mean)
    np.testing.assert_array_equal(again.covariance, palette.covariance)
    with pytest.raises(ValueError, match="3 x 4"):
        Palette.from_array(np.zeros((4, 3)))
    for damage in (np.nan, -100.0):
        array = palette.to_array()
        array[1, 2] = damage
        with pytest.raises(ValueError, match="variances"):
            Palette.from_array(array)


def test_one_odd_frame_of_a_sequence_changes_little() -> None:
    wanted, colours = Palette.of(COFFEE), PaintedColours()

    def shown(picture: np.ndarray, in_sequence: bool) -> np.ndarray:
        result = ASTRONAUT.copy()
        move_colours(result, colours.follow(picture, in_sequence), wanted, 1.0)
        return result.astype(float)

    first = shown(ASTRONAUT, False)
    black = np.zeros_like(ASTRONAUT)
    in_sequence, alone = shown(black, True), shown(black, False)
    assert np.abs(in_sequence - first).mean() < 0.3 * np.abs(alone - first).mean()
    colours.follow(black, False)
    colours.forget()
    np.testing.assert_array_equal(shown(ASTRONAUT, True), first)
