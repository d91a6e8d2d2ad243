# SPDX-License-Identifier: Apache-2.0
"""Depth as the colour camera would see it, by librealsense's own alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.realsense.frames import DeviceFrame
from muon_ad_core.sources.realsense.library import load_library

PATIENCE_MS = 1000


class DepthAligner:
    """Aligns depth frames to colour frames; for use by one thread."""

    def __init__(self) -> None:
        library = load_library()
        self._handles: list[Any] = []
        self._composed = library.frame_queue(1)
        self._composer = library.processing_block(self._compose)
        self._composer.start(self._composed)
        self._align = library.align(library.stream.color)

    def align(self, depth: DeviceFrame, color: DeviceFrame) -> NDArray[np.uint16]:
        """Depth for each pixel of `color`, uint16 depth units, 0 where unknown; valid until the next call."""
        self._handles = [depth.handle, color.handle]
        self._composer.invoke(depth.handle)
        frames = self._composed.wait_for_frame(PATIENCE_MS).as_frameset()
        self._aligned = self._align.process(frames).get_depth_frame()  # owns the pixels
        pixels: NDArray[np.uint16] = np.asanyarray(self._aligned.get_data())
        return pixels

    def _compose(self, frame: Any, source: Any) -> None:
        """librealsense aligns sets of frames only."""
        source.frame_ready(source.allocate_composite_frame(self._handles))
