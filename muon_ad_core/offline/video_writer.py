# SPDX-License-Identifier: Apache-2.0
"""Writing a video: by ffmpeg where it is installed, with the sound of another file, else by OpenCV without sound."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import cv2
import numpy as np

from muon_ad_core.errors import SourceError

OPENCV_CODEC = "mp4v"  # MPEG-4 part 2: OpenCV's wheels hold no encoder of H.264
QUALITY = 18  # constant rate factor of x264: hardly to be told from the original


class VideoWriter(ABC):
    """Takes RGB frames of one size at one rate."""

    @abstractmethod
    def write(self, frame: np.ndarray) -> None:
        """Add a frame; raises SourceError when it cannot be written."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file; raises SourceError when it is not whole."""


def open_writer(target: Path, rate: float, width: int, height: int, sound: Path) -> VideoWriter:
    """The writer for this machine. rate: frames a second; sound: a file whose sound, if any, goes along.

    Raises SourceError when the file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{target.parent} cannot be made: {error.strerror}") from None
    if has_ffmpeg():
        return FfmpegWriter(target, rate, width, height, sound)
    return OpenCvWriter(target, rate, width, height)


def has_ffmpeg() -> bool:
    """Whether the program ffmpeg is installed."""
    return shutil.which("ffmpeg") is not None


class OpenCvWriter(VideoWriter):
    """MPEG-4 by OpenCV; without sound."""

    def __init__(self, target: Path, rate: float, width: int, height: int) -> None:
        self._target = target
        self._writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*OPENCV_CODEC), rate, (width, height))
        if not self._writer.isOpened():
            raise SourceError(
                f"{target} cannot be written as a video: use a folder that can be written, and .mp4, .mkv, .mov or .avi"
            )

    def write(self, frame: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()
        if not self._target.is_file() or not self._target.stat().st_size:
            raise SourceError(f"{self._target} was not written: is the disk full?")


class FfmpegWriter(VideoWriter):
    """H.264 by ffmpeg, beside the sound of the original as it is there."""

    def __init__(self, target: Path, rate: float, width: int, height: int, sound: Path) -> None:
        # 4:2:0 needs even sides; other sizes keep every pixel's colour instead.
        layout = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        self._target = target
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process
        self._process = subprocess.Popen(
            ["ffmpeg", "-y", "-loglevel", "error",
             "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:.6f}", "-i", "pipe:0",
             "-i", str(sound), "-map", "0:v:0", "-map", "1:a?", "-c:v", "libx264", "-crf", str(QUALITY),
             "-pix_fmt", layout, "-c:a", "copy", str(target)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors,
        )  # fmt: skip

    def write(self, frame: np.ndarray) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            self._fail()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            self._fail()

    def _fail(self) -> None:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        raise SourceError(f"ffmpeg cannot write {self._target}: {lines[-1] if lines else 'it says nothing'}")
