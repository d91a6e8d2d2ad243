# SPDX-License-Identifier: Apache-2.0
"""Pictures of every mode are read upright as RGB; what cannot be used is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from muon_ad_core.distill.picture_files import check_writable, read_labels, read_rgb, write_rgb
from muon_ad_core.errors import SourceError


@pytest.fixture
def colours() -> np.ndarray:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :10] = (200, 20, 40)
    picture[:5] = (10, 90, 250)
    return picture


def test_what_is_written_is_read(tmp_path: Path, colours: np.ndarray) -> None:
    write_rgb(tmp_path / "a.png", colours)
    assert np.array_equal(read_rgb(tmp_path / "a.png"), colours)


def test_orientation_is_applied(tmp_path: Path, colours: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(colours).save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
    found = read_rgb(tmp_path / "a.jpg")
    assert found.shape == (30, 20, 3)
    assert np.abs(found.astype(int) - np.rot90(colours, -1)).mean() < 4


def test_transparency_lies_over_white(tmp_path: Path, colours: np.ndarray) -> None:
    alpha = np.full((20, 30, 1), 255, np.uint8)
    alpha[10:] = 0
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "a.png")
    found = read_rgb(tmp_path / "a.png")
    assert np.array_equal(found[:10], colours[:10]) and (found[10:] == 255).all()


def test_grey_and_16_bits_become_rgb(tmp_path: Path, colours: np.ndarray) -> None:
    grey = colours[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_rgb(tmp_path / "grey.png"), np.dstack([grey] * 3))
    cv2.imwrite(str(tmp_path / "deep.png"), colours[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_rgb(tmp_path / "deep.png"), colours)
    palette = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_rgb(tmp_path / "palette.png"), colours)


def test_labels_are_grey_levels(tmp_path: Path) -> None:
    labels = np.kron(np.array([[0, 128], [128, 255]], np.uint8), np.ones((8, 8), np.uint8))
    Image.fromarray(labels).save(tmp_path / "mask.png")
    assert np.array_equal(read_labels(tmp_path / "mask.png"), labels)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "many.png")
    with pytest.raises(SourceError, match="256 grey levels"):
        read_labels(tmp_path / "many.png")


def test_refusals(tmp_path: Path, colours: np.ndarray) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n nothing more")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.fromarray(colours[:8, :8]).save(tmp_path / "tiny.png")
    cv2.imwrite(str(tmp_path / "float.tiff"), colours.astype(np.float32))
    for name, message in (("missing.png", "no picture"), ("broken.png", "damaged"), ("empty.jpg", "damaged"),
                          ("tiny.png", "8x8 pixels"), ("float.tiff", "float32"), ("", "no picture")):  # fmt: skip
        with pytest.raises(SourceError, match=message):
            read_rgb(tmp_path / name)
    with pytest.raises(SourceError, match="names no picture format"):
        check_writable(tmp_path / "a.gif3")
    with pytest.raises(SourceError, match="there is no folder"):
        check_writable(tmp_path / "no" / "a.png")
