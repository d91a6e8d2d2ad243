# SPDX-License-Identifier: Apache-2.0
"""Node video_camera: a video file, an image folder or a V4L2 device as a camera."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from muon_ad_core.errors import SourceError
from muon_ad_core.sources import open_source
from muon_ad_core.sources.base import Frame, FrameSource

from .camera import CameraNode
from .managed import run_node
from .parameters import ParameterSpec

_REOPEN = "clean the node up first"
VIDEO_PARAMETERS = (
    ParameterSpec("source", "", "Video file, image folder, picture, or device such as /dev/video0.", fixed=_REOPEN),
    ParameterSpec("rate", 0.0, "Frames a second; 0: the source's own.", minimum=0.0, maximum=240.0, fixed=_REOPEN),
    ParameterSpec("loop", True, "Start a file again at its end.", fixed=_REOPEN),
)


class VideoCamera(CameraNode):
    """Publishes colour pictures, with the time of publication as stamp."""

    def __init__(self) -> None:
        super().__init__("video_camera", VIDEO_PARAMETERS)

    def open_source(self) -> FrameSource:
        source = self.parameters["source"]
        if not source:
            raise SourceError("the parameter source is empty: name a video file, an image folder or a device")
        return open_source(source, self.parameters["rate"] or None, self.parameters["loop"])

    def frames(self, source: FrameSource) -> Iterator[Frame]:
        for frame in source:
            self._tell_damage(source)
            yield frame
        self._tell_damage(source)  # it may have been found at the very end
        self.get_logger().info(f"{source.name} has ended")

    def _tell_damage(self, source: FrameSource) -> None:
        if source.damage:
            self.complain("damage", source.damage)


def main() -> None:
    sys.exit(run_node(VideoCamera))


if __name__ == "__main__":
    main()
