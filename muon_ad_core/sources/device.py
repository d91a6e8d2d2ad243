# SPDX-License-Identifier: Apache-2.0
"""A V4L2 camera as a source of frames, through OpenCV."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.base import Frame


def open_capture(path: str, rate: float | None) -> cv2.VideoCapture:
    """Open a V4L2 device; ``rate`` is asked of it. Raises SourceError with what to do when it cannot be opened."""
    if not os.path.exists(path):
        found = ", ".join(sorted(str(device) for device in Path("/dev").glob("video*"))) or "none"
        raise SourceError(f"there is no camera {path}: cameras on this machine: {found}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"{path} may not be opened: join its group with 'sudo usermod -aG video $USER'")
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceError(f"{path} cannot be opened as a camera: another program uses it, or it is no camera")
    if rate is not None:
        capture.set(cv2.CAP_PROP_FPS, rate)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not a queue of old ones
    return capture


class DeviceSource:
    """Frames of a camera as they arrive; iterating waits for the next one.

    Stamps are arrival times: later than the exposure by the unknown delay of camera and driver.
    """

    live = True
    camera = None
    csi_camera = None
    stamps = "monotonic time of arrival in this process"
    damage = ""

    def __init__(self, path: str, rate: float | None = None) -> None:
        """``path``: /dev/videoN. ``rate`` is asked of the camera, which may choose another; SourceError."""
        self.name = path
        self._capture = open_capture(path, rate)
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or rate or 30.0
        self.width = round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def __iter__(self) -> Iterator[Frame]:
        """Frames until the camera is closed; SourceError when it stops to deliver."""
        bgr: Any = None
        rgb: Any = None
        start_ns: int | None = None
        index = 0
        while self._capture.isOpened():
            grabbed = self._capture.grab()
            arrival_ns = time.monotonic_ns()
            delivered, bgr = self._capture.retrieve(bgr) if grabbed else (False, bgr)
            if not delivered:
                raise SourceError(f"{self.name} delivers no pictures after {index} frames: is it in use or unplugged?")
            start_ns = arrival_ns if start_ns is None else start_ns
            rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=rgb)
            yield Frame(rgb, stamp_ns=arrival_ns - start_ns, index=index)
            index += 1

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()
