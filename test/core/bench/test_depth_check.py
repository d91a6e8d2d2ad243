# SPDX-License-Identifier: Apache-2.0
"""Detections in space against a clip's own depth, and against the scene of the emulated D415."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from muon_ad_core.bench import depth_check
from muon_ad_core.errors import SourceError


def write_frame(folder: Path, depth: np.ndarray) -> None:
    """A frame of a person in the layout of 7-Scenes."""
    picture = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "frame-000000.color.png"), picture)
    cv2.imwrite(str(folder / "frame-000000.depth.png"), depth)
    np.savetxt(folder / "camera-intrinsics.txt", [[500, 0, 256], [0, 500, 256], [0, 0, 1]])


def test_a_clip_and_the_emulated_camera_give_their_figures(tmp_path: Path) -> None:
    pytest.importorskip("pyrealsense2", reason="pyrealsense2 or its libusb is missing", exc_type=ImportError)
    write_frame(tmp_path, np.full((512, 512), 1800, np.uint16))
    figures = depth_check.measure_depth(tmp_path)
    assert figures["clip_boxes_unoccluded"] >= 1
    assert (figures["clip_error_max"], figures["clip_within_5_percent"]) == (pytest.approx(0.0, abs=1e-6), 1.0)
    assert figures["emulated_boxes"] > 50
    assert figures["emulated_error_max_m"] < 0.03
    assert figures["emulated_error_max_unregistered_m"] > figures["emulated_error_max_m"]


def test_a_clip_without_depth_says_so(tmp_path: Path) -> None:
    write_frame(tmp_path, np.zeros((512, 512), np.uint16))
    with pytest.raises(SourceError, match="no unoccluded box was found"):
        depth_check.measure_depth(tmp_path)


def test_a_clip_without_intrinsics_says_so(tmp_path: Path) -> None:
    write_frame(tmp_path, np.zeros((512, 512), np.uint16))
    (tmp_path / "camera-intrinsics.txt").unlink()
    with pytest.raises(SourceError, match=r"no camera-intrinsics\.txt"):
        depth_check.measure_depth(tmp_path)
