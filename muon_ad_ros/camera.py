# SPDX-License-Identifier: Apache-2.0
"""Base of scene_camera and video_camera: publishes the frames of a source at their instants, with honest stamps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from muon_ad_core.errors import UserError
from muon_ad_core.sources.base import CameraModel, Frame, FrameSource

from . import qos
from .camera_info import camera_info_message
from .conversions import ImageWriter
from .parameters import ParameterSpec
from .reporting import ReportingNode
from .status import to_stamp

COLOR_FRAME = "camera_color_optical_frame"  # of depth too, because these sources register it to colour
CSI_FRAME = "csi_optical_frame"
BREATH = 0.001  # seconds a source that cannot keep up still waits, so that this node answers while it runs under FIFO


class ImageStream:
    """One camera's image topic with the camera_info beside it."""

    def __init__(
        self, node: ReportingNode, topic: str, frame_id: str, encoding: str, info: CameraInfo | None = None
    ) -> None:
        self.info = info
        self.frame_id = frame_id
        self._writer = ImageWriter(encoding)
        info_topic = f"{topic.rsplit('/', 1)[0]}/camera_info"
        profile, options = qos.sensor_output(), qos.overridable()
        self._image_publisher = node.create_publisher(Image, topic, profile, qos_overriding_options=options)
        self._info_publisher = node.create_publisher(CameraInfo, info_topic, qos.sensor_output())
        self._node = node

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to the images."""
        return self._image_publisher.get_subscription_count() > 0

    def publish(self, picture: NDArray[Any], stamp_ns: int) -> None:
        """Publish the calibration, then the picture it belongs to."""
        header = Header(stamp=to_stamp(stamp_ns), frame_id=self.frame_id)
        if self.info is not None:
            self.info.header = header
            self._info_publisher.publish(self.info)
        self._image_publisher.publish(self._writer.write(picture, header))

    def close(self) -> None:
        self._node.destroy_publisher(self._image_publisher)
        self._node.destroy_publisher(self._info_publisher)


class CameraNode(ReportingNode):
    """A camera; subclasses open the source and may leave out what nobody subscribes to."""

    role = "source"

    def __init__(self, name: str, specs: Sequence[ParameterSpec]) -> None:
        super().__init__(name, specs)
        self._source: FrameSource | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def open_source(self) -> FrameSource:
        """Open the source the parameters name; raises a SourceError when it cannot."""
        raise NotImplementedError

    def frames(self, source: FrameSource) -> Iterator[Frame]:
        """The frames to publish; `stamp_ns` is their instant since the first."""
        return iter(source)

    def now_ns(self) -> int:
        """What the camera's clock shows, in nanoseconds; it makes the stamps."""
        return int(self.get_clock().now().nanoseconds)

    def configure(self) -> None:
        source = self._source = self.open_source()
        self.color = ImageStream(self, "color/image_raw", COLOR_FRAME, "rgb8", _info(source.camera))
        self.depth = ImageStream(self, "depth/image_rect_raw", COLOR_FRAME, "16UC1", _info(source.camera))
        self.csi = ImageStream(self, "csi/image_raw", CSI_FRAME, "rgb8", _info(source.csi_camera))
        self.get_logger().info(f"{source.name}: {source.width}x{source.height} at {source.rate:g} Hz")

    def activate(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        self.policy.keep()

    def deactivate(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def cleanup(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
            for stream in (self.color, self.depth, self.csi):
                stream.close()

    def _run(self) -> None:
        assert self._source is not None
        try:
            self._publish_all(self._source)
        except UserError as error:
            self.get_logger().error(str(error))

    def _publish_all(self, source: FrameSource) -> None:
        """Publish frames until told to stop.

        A frame is made ahead and waits for its instant, which is then its stamp: what the emulation costs does not
        count as age of the picture. Instants are absolute, so that delays do not add up.
        """
        period = 1.0 / source.rate
        start: float | None = None
        expected = 0
        for frame in self.frames(source):
            if start is None:
                start = time.monotonic() - frame.stamp_ns / 1e9
            if not source.live:
                late = time.monotonic() - (start + frame.stamp_ns / 1e9)
                if late > period:  # the pictures a real camera would have taken meanwhile are lost
                    start += late
                    self._lose(int(late / period), "overrun")
                self._stopping.wait(max(BREATH, -late))
            if self._stopping.is_set():
                return
            self._lose(frame.index - expected, "not_captured")
            expected = frame.index + 1
            self._publish(frame)

    def _lose(self, count: int, cause: str) -> None:
        if count > 0:
            self.ledger.received(count)
            self.ledger.dropped(cause, count)

    def _publish(self, frame: Frame) -> None:
        began = time.monotonic()
        stamp_ns = self.now_ns()
        self.ledger.received()
        self.color.publish(frame.color, stamp_ns)
        if frame.depth is not None and self.depth.wanted:
            self.depth.publish(frame.depth, stamp_ns)
        if frame.second is not None and self.csi.wanted:
            self.csi.publish(frame.second, stamp_ns)
        self.ledger.delivered()
        self.reporter.record((time.monotonic() - began) * 1e3, missed=False)


def _info(camera: CameraModel | None) -> CameraInfo | None:
    return None if camera is None else camera_info_message(camera)
