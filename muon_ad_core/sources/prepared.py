# SPDX-License-Identifier: Apache-2.0
"""Frames of a scene made before they are needed, for a camera whose emulation must cost the machine next to nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import count

from muon_ad_core.sources.base import NANOSECONDS, Frame
from muon_ad_core.sources.scene import SceneSource


class PreparedFrames:
    """The first frames of a scene, shown forwards and backwards in turn so that the motion has no jump."""

    live = False
    stamps = SceneSource.stamps
    damage = ""

    def __init__(self, source: SceneSource, frames: int) -> None:
        """Render `frames` (at least 1) pictures, with depth and second camera; about 3 MB each at 640x480."""
        self.name, self.width, self.height, self.rate = source.name, source.width, source.height, source.rate
        self.camera, self.csi_camera = source.camera, source.csi_camera
        self._frames = [_copied(source.frame(index)) for index in range(frames)]

    def frame(self, index: int, with_second: bool = True) -> Frame:
        """Frame `index` >= 0, with or without the second camera's; the arrays are shared between its appearances."""
        turn = max(1, 2 * len(self._frames) - 2)
        place = index % turn
        shown = self._frames[min(place, turn - place)]
        frame = dataclasses.replace(shown, stamp_ns=round(index * NANOSECONDS / self.rate), index=index)
        if not with_second:
            frame.second = None
        return frame

    def __iter__(self) -> Iterator[Frame]:
        """All frames from the first, without end."""
        return map(self.frame, count())

    def close(self) -> None:
        """Nothing is held open."""


def _copied(frame: Frame) -> Frame:
    depth = None if frame.depth is None else frame.depth.copy()
    second = None if frame.second is None else frame.second.copy()
    return dataclasses.replace(frame, color=frame.color.copy(), depth=depth, second=second)
