# SPDX-License-Identifier: Apache-2.0
"""Calibration files of camera_calibration, as written and damaged."""

from pathlib import Path

import pytest

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.calibration import load_calibration

WRITTEN = """\
image_width: 640
image_height: 480
camera_name: csi
camera_matrix:
  rows: 3
  cols: 3
  data: [610.0, 0.0, 321.5, 0.0, 612.0, 238.5, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.001, -0.002, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [600.0, 0.0, 320.0, 0.0, 0.0, 602.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    calibration = load_calibration(write(tmp_path / "csi.yaml", WRITTEN))
    assert (calibration.width, calibration.height, calibration.distortion_model) == (640, 480, "plumb_bob")
    assert calibration.k[0] == 610.0 and calibration.k[5] == 238.5
    assert calibration.d == (0.1, -0.2, 0.001, -0.002, 0.0)
    assert calibration.p[5] == 602.0


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("camera_matrix:", "camera_matrix: [", "no valid YAML"),
        ("distortion_model: plumb_bob", "distortion_model: thin_prism", "'thin_prism' is none of"),
        (
            "  data: [0.1, -0.2, 0.001, -0.002, 0]",
            "  data: [0.1, -0.2]",
            "distortion_coefficients has 2 numbers, not 5",
        ),
        ("projection_matrix:", "projection:", "'projection_matrix' is missing"),
        ("610.0", "wide", "could not convert"),
        ("image_width: 640", "image_width: 0", "no pixels"),
        ("image_width: 640", "image_width: [640]", "not as camera_calibration writes it"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = write(tmp_path / "csi.yaml", WRITTEN.replace(old, new))
    with pytest.raises(SourceError, match=reason) as caught:
        load_calibration(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_contents_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a mapping"):
        load_calibration(write(tmp_path / "list.yaml", "[1, 2]"))
    with pytest.raises(SourceError, match="No such file"):
        load_calibration(tmp_path / "nowhere.yaml")
