# SPDX-License-Identifier: Apache-2.0
"""Camera devices, with a double in the place of OpenCV's capture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import SourceError
from muon_ad_core.sources import device
from muon_ad_core.sources.device import DeviceSource


class FakeCapture:
    """A camera that delivers three blue pictures and is unplugged then."""

    def __init__(self, path: str, backend: int) -> None:
        assert backend == cv2.CAP_V4L2
        self.properties = {
            cv2.CAP_PROP_FPS: 25.0,
            cv2.CAP_PROP_FRAME_WIDTH: 64.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 48.0,
        }
        self.left = 3
        self.open = True

    def isOpened(self) -> bool:
        return self.open

    def set(self, name: int, value: float) -> bool:
        self.properties[name] = value
        return True

    def get(self, name: int) -> float:
        return self.properties[name]

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self, picture: object) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), (255, 0, 0), np.uint8)

    def release(self) -> None:
        self.open = False


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeviceSource:
    monkeypatch.setattr(device.cv2, "VideoCapture", FakeCapture)
    path = tmp_path / "video0"
    path.touch()
    return DeviceSource(str(path), rate=15.0)


def test_frames_arrive_in_rgb_until_the_camera_is_unplugged(camera: DeviceSource) -> None:
    assert (camera.width, camera.height, camera.rate, camera.live) == (64, 48, 15.0, True)
    seen = []
    with pytest.raises(SourceError, match="delivers no pictures after 3 frames"):
        for frame in camera:
            assert (frame.color == (0, 0, 255)).all()
            seen.append((frame.index, frame.stamp_ns))
    assert [index for index, _ in seen] == [0, 1, 2]
    assert seen[0][1] == 0 and seen == sorted(seen)


def test_a_closed_camera_ends_its_frames(camera: DeviceSource) -> None:
    frames = iter(camera)
    next(frames)
    camera.close()
    assert list(frames) == []
