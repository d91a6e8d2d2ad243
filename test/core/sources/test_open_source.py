# SPDX-License-Identifier: Apache-2.0
"""One string chooses the source, and mistakes get one sentence."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.sources import open_source
from muon_ad_core.sources.pictures import PictureSource
from muon_ad_core.sources.scene import SceneSource
from muon_ad_core.sources.video import VideoSource


def test_scenes_by_name() -> None:
    source = open_source("pan", rate=12.0, seed=5)
    assert isinstance(source, SceneSource)
    assert (source.name, source.rate, source.width, source.height) == ("pan", 12.0, 640, 480)
    assert source.camera is not None and not source.live
    assert np.array_equal(source.pose(3), SceneSource("pan", rate=12.0, seed=5).pose(3))


def test_files_and_folders_by_their_path(tmp_path: Path) -> None:
    picture = tmp_path / "a.PNG"
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "a.png").rename(picture)
    for spec in (picture, tmp_path):
        source = open_source(str(spec), loop=True)
        assert isinstance(source, PictureSource)
        assert source.rate == 30.0 and source.camera is None
        assert [frame.index for frame, _ in zip(source, range(3), strict=False)] == [0, 1, 2]
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (16, 16))
    writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.release()
    source = open_source(str(video))
    assert isinstance(source, VideoSource) and source.rate == 20.0


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("motorbike", "there is no source 'motorbike': name a file, a folder, /dev/videoN or motorcycle, pan"),
        ("/dev/video999", "there is no camera /dev/video999: cameras on this machine"),
        ("/dev/null", "/dev/null cannot be opened as a camera"),
    ],
)
def test_mistakes_get_one_sentence(spec: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence) as error:
        open_source(spec)
    assert "\n" not in str(error.value)


def test_recordings_are_left_to_the_bag_player(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").touch()
    (tmp_path / "drive.mcap").touch()
    for spec in (tmp_path, tmp_path / "drive.mcap"):
        with pytest.raises(SourceError, match="is a recorded bag.*bag_player"):
            open_source(str(spec))


@pytest.mark.parametrize("rate", [0.0, -3.0, float("nan")])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(ParameterError, match="rate must be positive"):
        open_source("pan", rate=rate)
