# SPDX-License-Identifier: Apache-2.0
"""Picture files of every kind come out as upright RGB with 8 bits, and keep their transparency."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from muon_ad_core.errors import SourceError
from muon_ad_core.offline.stills import Still, read_still, write_still

RGB = np.ascontiguousarray(data.astronaut()[:40, :60])
ALPHA = np.tile(np.arange(60, dtype=np.uint8), (40, 1))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".jpg"])
def test_written_pictures_come_back(tmp_path: Path, suffix: str) -> None:
    write_still(tmp_path / f"new/a{suffix}", Still(RGB))
    found = read_still(tmp_path / f"new/a{suffix}")
    assert found.alpha is None
    assert np.abs(found.rgb.astype(int) - RGB).mean() < (0.1 if suffix in (".png", ".tif", ".bmp") else 6)


def test_transparency_is_kept_where_the_format_has_it(tmp_path: Path) -> None:
    write_still(tmp_path / "a.png", Still(RGB, ALPHA))
    found = read_still(tmp_path / "a.png")
    assert np.array_equal(found.rgb, RGB) and np.array_equal(found.alpha, ALPHA)
    write_still(tmp_path / "a.bmp", Still(RGB, ALPHA))
    assert read_still(tmp_path / "a.bmp").alpha is None


def test_grey_and_sixteen_bits(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), RGB[..., 0])
    assert np.array_equal(read_still(tmp_path / "grey.png").rgb, np.repeat(RGB[..., :1], 3, 2))
    cv2.imwrite(str(tmp_path / "deep.png"), RGB[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_still(tmp_path / "deep.png").rgb, RGB)
    Image.fromarray(np.dstack([RGB[..., 0], ALPHA]), "LA").save(tmp_path / "la.png")
    found = read_still(tmp_path / "la.png")
    assert np.array_equal(found.rgb[..., 1], RGB[..., 0]) and np.array_equal(found.alpha, ALPHA)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("with_alpha", [False, True])
def test_turned_pictures_stand_upright(tmp_path: Path, orientation: int, with_alpha: bool) -> None:
    # How a camera that was held so stores the scene (EXIF tag 274).
    stored = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB, 1),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB, -1),
    }[orientation]
    if with_alpha:
        stored = np.dstack([stored, np.full(stored.shape[:2], 200, np.uint8)])
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    found = read_still(tmp_path / "turned.png")
    assert np.array_equal(found.rgb, RGB)
    assert (found.alpha is not None) == with_alpha


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 no more", b"text"])
def test_broken_files_get_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(SourceError, match=r"broken\.jpg cannot be read as a picture"):
        read_still(tmp_path / "broken.jpg")
    with pytest.raises(SourceError, match="there is no picture"):
        read_still(tmp_path / "absent.jpg")
    with pytest.raises(SourceError, match="cannot be written"):
        write_still(tmp_path / "a.xyz", Still(RGB))
