# SPDX-License-Identifier: Apache-2.0
"""A moving test pattern, taken at exact instants."""

from __future__ import annotations

import time

import cv2
import numpy as np

from muon_ad_core.sources.capture.base import BUFFER, CapturedPicture, CaptureMode, host_time

BARS = ((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0))
PIXELS_A_FRAME = 4


class PatternSource:
    """Colour bars that move to the left, with the number of the frame on them."""

    name = "test pattern"

    def __init__(self, mode: CaptureMode) -> None:
        self.width, self.height, self.rate = mode.width, mode.height, mode.rate
        bars = np.array(BARS, np.uint8)[np.arange(self.width) * len(BARS) // self.width]
        self._bars = np.broadcast_to(bars, (self.height, self.width, 3))
        self._rgb = np.empty((self.height, self.width, 3), np.uint8)
        self._began_ns = time.monotonic_ns()
        self._number = 0

    def read(self) -> CapturedPicture:
        self._number += 1
        shift = self._number * PIXELS_A_FRAME % self.width
        self._rgb[:, : self.width - shift] = self._bars[:, shift:]
        self._rgb[:, self.width - shift :] = self._bars[:, :shift]
        origin = (self.width // 20, self.height // 2)
        cv2.putText(self._rgb, str(self._number), origin, cv2.FONT_HERSHEY_SIMPLEX, 1.0, (128, 128, 128), 2)
        taken_ns = self._began_ns + round(self._number * 1e9 / self.rate)
        time.sleep(max(0, taken_ns - time.monotonic_ns()) / 1e9)
        stamp_ns, now_ns = host_time(taken_ns, time.monotonic_ns)
        return CapturedPicture(self._rgb, self._number, stamp_ns, now_ns, BUFFER, 0)

    def close(self) -> None:
        """Nothing is held open."""
