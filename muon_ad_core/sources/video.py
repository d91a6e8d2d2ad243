# SPDX-License-Identifier: Apache-2.0
"""A video file as a source of frames, decoded by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.base import NANOSECONDS, Frame

NANOSECONDS_PER_MILLISECOND = 1_000_000


class VideoSource:
    """The frames of a video in their own size, with the container's times as stamps.

    When a rate is asked for, or the container's times stand still, stamps are frame periods instead;
    ``stamps`` says which. ``damage`` says when frames cannot be decoded or the file ends too early.
    """

    live = False
    camera = None
    csi_camera = None

    def __init__(self, path: str | Path, rate: float | None = None, loop: bool = False) -> None:
        """``rate``: frames per second instead of the file's timing. Raises SourceError if it is no video."""
        self.name = str(path)
        self.stamps = "the container's times" if rate is None else f"periods of the asked rate, {rate:g} Hz"
        self.damage = ""
        self._fixed_rate = rate is not None
        self._loop = loop
        self._bgr: Any = None
        self._rgb: Any = None
        capture = self._open()
        own_rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate or (own_rate if 0.0 < own_rate < 1000.0 else 30.0)
        if not capture.grab():
            raise SourceError(f"{path} holds no frame that can be decoded: it is empty or damaged")
        self.height, self.width = capture.retrieve()[1].shape[:2]
        capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """All frames from the first; without end when looping, with stamps that go on rising."""
        index, start_ns = 0, 0
        while True:
            frame = None
            for frame in self._play(index, start_ns):
                yield frame
            if frame is None:
                raise SourceError(f"{self.name} can no longer be decoded: was it deleted or changed?")
            if not self._loop:
                return
            index, start_ns = frame.index + 1, frame.stamp_ns + self._period_ns

    def close(self) -> None:
        """Nothing is held open between iterations."""

    @property
    def _period_ns(self) -> int:
        return round(NANOSECONDS / self.rate)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.name)
        if not capture.isOpened():
            raise SourceError(f"{self.name} cannot be opened as a video: it is damaged or of an unknown format")
        return capture

    def _play(self, first_index: int, start_ns: int) -> Iterator[Frame]:
        """The file once through, counting frames from ``first_index`` and time from ``start_ns``."""
        capture = self._open()
        announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        index, stamp_ns = first_index, start_ns
        first_time: float | None = None
        while capture.grab():
            time = capture.get(cv2.CAP_PROP_POS_MSEC)
            first_time = time if first_time is None else first_time
            if index > first_index:
                container_ns = start_ns + round((time - first_time) * NANOSECONDS_PER_MILLISECOND)
                stamp_ns = self._next_stamp(stamp_ns, container_ns)
            decoded, self._bgr = capture.retrieve(self._bgr)
            if decoded:
                self._rgb = cv2.cvtColor(self._bgr, cv2.COLOR_BGR2RGB, dst=self._rgb)
                yield Frame(self._rgb, stamp_ns=stamp_ns, index=index)
            else:
                self.damage = f"a frame of {self.name} cannot be decoded and is left out"
            index += 1
        capture.release()
        if index - first_index < announced - 1:
            self.damage = f"{self.name} breaks off after {index - first_index} of {announced:.0f} frames"

    def _next_stamp(self, stamp_ns: int, container_ns: int) -> int:
        if not self._fixed_rate and container_ns <= stamp_ns:
            self._fixed_rate = True
            self.stamps = f"periods of {self.rate:g} Hz, because the container's times stand still"
        return stamp_ns + self._period_ns if self._fixed_rate else container_ns


def frame_count(path: str | Path) -> int | None:
    """Frames that the container announces; None where it does not tell."""
    capture = cv2.VideoCapture(str(path))
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return announced if announced > 0 else None
