# SPDX-License-Identifier: Apache-2.0
"""A V4L2 device read by OpenCV, with the time stamps of the driver's buffers."""

from __future__ import annotations

import time
from typing import Any

import cv2

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.capture.base import BUFFER, UNSTAMPED_NS, CapturedPicture, CaptureMode, host_time
from muon_ad_core.sources.device import open_capture
from muon_ad_core.timing.clock import ARRIVAL

OLDEST_NS = 2_000_000_000
"""A buffer stamp further back than this was not made by the steady clock."""


class V4l2Source:
    """Frames of /dev/videoN.

    OpenCV's V4L2 backend tells the buffer's stamp as CAP_PROP_POS_MSEC; nearly all drivers stamp with CLOCK_MONOTONIC.
    A stamp that this clock cannot have made is not believed.
    """

    def __init__(self, path: str, mode: CaptureMode) -> None:
        """Raises SourceError when the device cannot be opened."""
        self.name = path
        self._capture = open_capture(path, mode.rate)
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, mode.width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, mode.height)
        self.width = round(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = round(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or mode.rate
        self._number = 0
        self._bgr: Any = None
        self._rgb: Any = None

    def read(self) -> CapturedPicture:
        grabbed = self._capture.grab()
        now_ns = time.monotonic_ns()
        taken_ns = buffer_time(self._capture.get(cv2.CAP_PROP_POS_MSEC), now_ns)
        stamp_ns, arrival_ns = host_time(now_ns if taken_ns is None else taken_ns, time.monotonic_ns)
        delivered, self._bgr = self._capture.retrieve(self._bgr) if grabbed else (False, None)
        if not delivered:
            raise SourceError(f"{self.name} delivers no pictures after {self._number}: is it in use or unplugged?")
        self._rgb = cv2.cvtColor(self._bgr, cv2.COLOR_BGR2RGB, dst=self._rgb)
        self._number += 1
        provenance = ARRIVAL if taken_ns is None else BUFFER
        uncertainty_ns = UNSTAMPED_NS if taken_ns is None else round(1e9 / self.rate)
        return CapturedPicture(self._rgb, self._number, stamp_ns, arrival_ns, provenance, uncertainty_ns)

    def close(self) -> None:
        self._capture.release()


def buffer_time(position_ms: float, now_ns: int) -> int | None:
    """Steady time of a buffer, in nanoseconds, from what OpenCV tells; None when that clock cannot have made it."""
    taken_ns = round(position_ms * 1e6)
    return taken_ns if position_ms > 0 and 0 <= now_ns - taken_ns <= OLDEST_NS else None
