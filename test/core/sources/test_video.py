# SPDX-License-Identifier: Apache-2.0
"""Video files come back as they were written, with the container's times, and their faults in one sentence."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.video import VideoSource

HEIGHT, WIDTH, RATE, COUNT = 48, 64, 25.0, 12


def color_of(index: int) -> tuple[int, int, int]:
    """RGB of a test frame: a red that rises, a green that falls, and no blue."""
    return 20 + 15 * index, 200 - 10 * index, 10


def write_video(path: Path, count: int = COUNT) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write Motion JPEG")
    for index in range(count):
        writer.write(np.full((HEIGHT, WIDTH, 3), color_of(index)[::-1], np.uint8))
    writer.release()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi")


def test_frames_come_back_in_rgb_with_the_containers_times(video: Path) -> None:
    source = VideoSource(video)
    assert (source.width, source.height, source.rate) == (WIDTH, HEIGHT, RATE)
    stamps = []
    for expected, frame in enumerate(source):
        assert frame.index == expected
        assert frame.encoding == "rgb8" and frame.color.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(frame.color.reshape(-1, 3).mean(0) - color_of(expected)).max() < 6
        stamps.append(frame.stamp_ns)
    assert stamps == [index * 40_000_000 for index in range(COUNT)]
    assert source.stamps == "the container's times"
    assert source.damage == ""


def test_a_second_iteration_starts_again(video: Path) -> None:
    source = VideoSource(video)
    assert [frame.index for frame in source] == [frame.index for frame in source] == list(range(COUNT))


def test_an_asked_rate_replaces_the_times(video: Path) -> None:
    source = VideoSource(video, rate=10.0)
    assert source.rate == 10.0
    assert [frame.stamp_ns for frame in source] == [index * 100_000_000 for index in range(COUNT)]
    assert source.stamps == "periods of the asked rate, 10 Hz"


def test_a_loop_goes_on_counting_and_rising(video: Path) -> None:
    frames = VideoSource(video, loop=True)
    seen = [(f.index, f.stamp_ns, int(f.color[0, 0, 0])) for f, _ in zip(frames, range(3 * COUNT), strict=False)]
    assert [index for index, _, _ in seen] == list(range(3 * COUNT))
    assert [stamp for _, stamp, _ in seen] == [index * 40_000_000 for index in range(3 * COUNT)]
    reds = [red for _, _, red in seen]
    assert reds[:COUNT] == reds[COUNT : 2 * COUNT] == reds[2 * COUNT :]


def test_buffers_are_reused(video: Path) -> None:
    assert len({frame.color.ctypes.data for frame in VideoSource(video)}) == 1


def test_a_video_that_breaks_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (320, 240))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write Matroska")
    noise = np.random.default_rng(0)
    for _ in range(40):
        writer.write(noise.integers(0, 255, (240, 320, 3), dtype=np.uint8))
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source = VideoSource(path)
    count = sum(1 for _ in source)
    assert 10 < count < 30
    assert source.damage == f"{path} breaks off after {count} of 40 frames"


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 100])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(
        SourceError, match=r"clip.mp4 cannot be opened as a video: it is damaged or of an unknown format"
    ):
        VideoSource(path)


def test_a_video_deleted_while_looping_is_an_error(video: Path) -> None:
    frames = iter(VideoSource(video, loop=True))
    next(frames)
    video.unlink()
    with pytest.raises(SourceError, match="clip.avi"):
        for _ in range(2 * COUNT):
            next(frames)
