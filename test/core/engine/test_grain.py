# SPDX-License-Identifier: Apache-2.0
"""Grain: the same in training and at run time, seamless, and moving with the scene."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from muon_ad_core.engine.grain import MIDDLE, PERIOD, Grain, grain_of, grain_tile
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import EngineError
from muon_ad_core.stylize import Piece, Stylizer

GREY = np.full((70, 90, 3), 100, np.uint8)


def added(row: int, column: int, picture: np.ndarray = GREY) -> np.ndarray:
    result = np.empty_like(picture)
    Grain(6.0, *picture.shape[:2]).add(picture, result, row, column)
    return result


def test_its_strength_is_what_is_asked_for() -> None:
    tile = grain_tile(6.0).astype(float)
    assert tile.std() == pytest.approx(6, rel=0.02)
    assert tile.mean() == pytest.approx(MIDDLE, abs=0.5)
    assert np.array_equal(tile, grain_tile(6.0))


def test_opposite_borders_fit() -> None:
    tile = grain_tile(6.0).astype(float)
    inside = np.abs(np.diff(tile, axis=0)).mean()
    assert np.abs(tile[0] - tile[-1]).mean() < 1.5 * inside
    assert np.abs(tile[:, 0] - tile[:, -1]).mean() < 1.5 * inside


@given(st.integers(-2000, 2000), st.integers(-2000, 2000), st.integers(-30, 30), st.integers(-30, 30))
def test_each_place_of_the_scene_has_its_own(row: int, column: int, down: int, right: int) -> None:
    here, moved = added(row, column), added(row + down, column + right)
    rows = slice(max(0, -down), min(70, 70 - down)), slice(max(0, down), min(70, 70 + down))
    columns = slice(max(0, -right), min(90, 90 - right)), slice(max(0, right), min(90, 90 + right))
    assert np.array_equal(moved[rows[0], columns[0]], here[rows[1], columns[1]])
    assert np.array_equal(added(row + PERIOD, column), here)


def test_bright_and_dark_stay_in_range() -> None:
    assert added(0, 0, np.full_like(GREY, 255)).max() == 255 and added(0, 0, np.zeros_like(GREY)).min() == 0
    assert abs(added(0, 0).astype(float).mean() - 100) < 2


@pytest.fixture
def grained(tmp_path: Path) -> EnginePackage:
    """The shipped student with grain, whatever it ships with."""
    return with_grain(tmp_path, 12.0)


def with_grain(folder: Path, spread: object) -> EnginePackage:
    root = folder / "grained"
    shutil.copytree(find_engine("student"), root)
    manifest = json.loads((root / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps({**manifest, "grain": spread}))
    return EnginePackage.load(root)


@pytest.mark.parametrize("spread", [-1, 41, "much"])
def test_impossible_grain_is_refused(tmp_path: Path, spread: object) -> None:
    with pytest.raises(EngineError, match="'grain' of engine student must be from 0 to 40"):
        grain_of(with_grain(tmp_path, spread))


def test_a_picture_by_itself_is_always_painted_alike(grained: EnginePackage) -> None:
    stylizer = Stylizer(grained, threads=1)
    photograph = np.ascontiguousarray(data.coffee()[:120, :160])
    first = stylizer.run(photograph).copy()
    stylizer.run(np.ascontiguousarray(photograph[::-1]))
    assert np.array_equal(stylizer.run(photograph), first)


def test_strength_mixes_the_picture_without_grain(grained: EnginePackage) -> None:
    stylizer = Stylizer(grained, threads=1)
    photograph = np.ascontiguousarray(data.coffee()[:120, :160])
    painted = stylizer.run(photograph).copy()
    stylizer.set_strength(0.5)
    expected = cv2.addWeighted(painted, 0.5, photograph, 0.5, 0)
    assert np.abs(stylizer.run(photograph).astype(int) - expected).max() <= 1


def test_it_moves_with_the_scene_when_frames_follow_each_other(
    grained: EnginePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[tuple[int, int]] = []
    add = Grain.add

    def noted(self: Grain, picture: np.ndarray, result: np.ndarray, row: int = 0, column: int = 0) -> None:
        places.append((row, column))
        add(self, picture, result, row, column)

    monkeypatch.setattr(Grain, "add", noted)
    stylizer = Stylizer(grained, threads=1)
    stylizer.set_level("medium")  # paints every pixel of so small a frame
    stylizer.set_temporal_smoothing(0.4)
    scene = data.coffee()
    for step in range(4):  # the camera goes right and down, so that what it sees goes left and up
        stylizer.run(np.ascontiguousarray(scene[2 * step : 2 * step + 240, 3 * step : 3 * step + 320]))
    assert places == [(0, 0), (2, 3), (4, 6), (6, 9)]
    stylizer.set_temporal_smoothing(0.0)
    stylizer.run(np.ascontiguousarray(scene[100:340, 100:420]))
    assert places[-1] == (0, 0)


def test_pieces_of_a_picture_get_the_grain_of_their_places(grained: EnginePackage) -> None:
    """Far from its borders, a piece is painted as the whole is."""
    stylizer = Stylizer(grained, threads=1)
    stylizer.set_level("medium")
    whole = np.ascontiguousarray(data.coffee()[:400, :400])
    painted = stylizer.run(whole).astype(int)
    colours = stylizer.painted_colours(whole)
    part = np.ascontiguousarray(whole[64:400, 64:400])
    piece = stylizer.run_picture(part, Piece(whole, 64, 64, colours)).astype(int)
    misplaced = stylizer.run_picture(part, Piece(whole, 0, 0, colours)).astype(int)
    middle = slice(150, 200)
    right, wrong = (
        np.abs(each[middle, middle] - painted[214:264, 214:264]).mean() for each in (piece.copy(), misplaced)
    )
    assert right < 0.5 * wrong
