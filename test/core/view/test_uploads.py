# SPDX-License-Identifier: Apache-2.0
"""Uploaded style pictures: names, sizes, and what is no picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import StyleError
from muon_ad_core.view.uploads import LONGEST_SIDE, keep_picture, style_name


def encoded(height: int, width: int, suffix: str = ".png") -> bytes:
    picture = np.full((height, width, 3), (10, 120, 200), np.uint8)
    return cv2.imencode(suffix, picture)[1].tobytes()


@pytest.mark.parametrize(
    ("file_name", "taken", "expected"),
    [
        ("Blue Waves.JPG", [], "blue_waves"),
        ("../../etc/passwd", [], "passwd"),
        ("été-2024 (1).webp", [], "t_2024_1"),
        ("...", [], "picture"),
        ("waves.png", ["waves"], "waves_2"),
        ("waves.png", ["waves", "waves_2", "other"], "waves_3"),
    ],
)
def test_a_style_is_named_after_its_file_and_replaces_none(file_name: str, taken: list[str], expected: str) -> None:
    assert style_name(file_name, taken) == expected


def test_a_picture_is_kept_without_what_its_file_held_besides(tmp_path: Path) -> None:
    data = encoded(60, 80, ".jpg") + b"where it was taken"
    path = keep_picture(data, "waves", tmp_path / "styles")
    assert path == tmp_path / "styles" / "waves.png"
    assert b"where it was taken" not in path.read_bytes()
    np.testing.assert_allclose(cv2.imread(str(path))[30, 40], (10, 120, 200), atol=4)


def test_a_large_picture_is_made_smaller(tmp_path: Path) -> None:
    path = keep_picture(encoded(300, 3 * LONGEST_SIDE), "wide", tmp_path)
    assert cv2.imread(str(path)).shape == (100, LONGEST_SIDE, 3)


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(8, 8)[:40]])
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StyleError, match="cannot be read as a picture"):
        keep_picture(data, "broken", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StyleError, match="waves.png cannot be written"):
        keep_picture(encoded(8, 8), "waves", tmp_path / "file")
