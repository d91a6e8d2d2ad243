# SPDX-License-Identifier: Apache-2.0
"""Pictures and picture folders: order, orientation, sizes, and what cannot be read."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.pictures import PictureSource

RED, BLUE = (255, 0, 0), (0, 0, 255)


def write(path: Path, rgb: tuple[int, int, int] = RED, height: int = 20, width: int = 30) -> Path:
    cv2.imwrite(str(path), np.full((height, width, 3), rgb[::-1], np.uint8))
    return path


def exif_orientation(value: int) -> bytes:
    """JPEG segment APP1 with one Exif tag, 0x0112 (orientation)."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, value, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1, 33):
        write(tmp_path / f"frame{number}.png", (number, 0, 0))
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = list(PictureSource(tmp_path, rate=10.0))
    assert [int(frame.color[0, 0, 0]) for frame in frames] == [1, 2, 10, 33]
    assert [(frame.index, frame.stamp_ns) for frame in frames] == [(i, i * 100_000_000) for i in range(4)]


def test_pictures_keep_their_own_sizes(tmp_path: Path) -> None:
    write(tmp_path / "a.png", height=20, width=30)
    write(tmp_path / "b.jpg", height=40, width=10)
    source = PictureSource(tmp_path)
    assert (source.width, source.height) == (30, 20)
    assert [frame.color.shape for frame in source] == [(20, 30, 3), (40, 10, 3)]


def test_grey_deep_and_transparent_pictures_become_rgb8(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 9), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((8, 9), 77 * 257, np.uint16))
    cv2.imwrite(str(tmp_path / "c.png"), np.full((8, 9, 4), 77, np.uint8))
    for frame in PictureSource(tmp_path):
        assert frame.color.dtype == np.uint8 and frame.color.shape == (8, 9, 3)
        assert (frame.color == 77).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    """Orientation 6: the camera was held upright, so the stored left edge is the top's."""
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = RED[::-1]
    stored[:, 32:] = BLUE[::-1]
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    path = tmp_path / "upright.jpg"
    path.write_bytes(jpeg[:2] + exif_orientation(6) + jpeg[2:])
    source = PictureSource(path)
    (frame,) = source
    assert (source.width, source.height) == (32, 64)
    assert frame.color[5, 16, 0] > 200 and frame.color[60, 16, 2] > 200


def test_a_single_picture_repeats_when_looping(tmp_path: Path) -> None:
    path = write(tmp_path / "still.png")
    assert len(list(PictureSource(path))) == 1
    frames = [frame for frame, _ in zip(PictureSource(path, rate=20.0, loop=True), range(3), strict=False)]
    assert [(frame.index, frame.stamp_ns) for frame in frames] == [(0, 0), (1, 50_000_000), (2, 100_000_000)]
    assert all((frame.color == RED).all() for frame in frames)


def test_unreadable_pictures_are_skipped_and_reported(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    write(tmp_path / "c.png")
    source = PictureSource(tmp_path)
    assert [frame.index for frame in source] == [0, 1]
    assert source.damage == f"1 of the 3 pictures in {tmp_path} cannot be read"


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(SourceError, match="holds no pictures"):
        PictureSource(tmp_path)


def test_nothing_but_broken_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"broken")
    with pytest.raises(SourceError, match="no picture can be read from .*broken.png"):
        PictureSource(path)


def test_pictures_deleted_while_looping_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "still.png")
    frames = iter(PictureSource(path, loop=True))
    next(frames)
    path.unlink()
    with pytest.raises(SourceError, match="can no longer be read"):
        next(frames)
