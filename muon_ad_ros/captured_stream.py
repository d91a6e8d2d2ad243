# SPDX-License-Identifier: Apache-2.0
"""Image topic of a real camera: each picture comes with its calibration and with what is known of its stamp."""

from __future__ import annotations

from typing import Any

from muon_ad_msgs.msg import FrameMetadata
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from . import qos
from .camera import ImageStream
from .reporting import ReportingNode
from .status import to_stamp

METADATA_KEPT = 100  # for readers that stall: the metadata is what accounts for every frame


class CapturedStream(ImageStream):
    """Publishes pictures, camera_info and metadata with one header; the metadata comes last and is reliable."""

    def __init__(
        self, node: ReportingNode, topic: str, frame_id: str, encoding: str, info: CameraInfo | None = None
    ) -> None:
        super().__init__(node, topic, frame_id, encoding, info)
        metadata_topic = f"{topic.rsplit('/', 1)[0]}/metadata"
        profile = qos.result_data()
        profile.depth = METADATA_KEPT
        self._metadata_publisher = node.create_publisher(FrameMetadata, metadata_topic, profile)
        self._counting_node = node

    def publish_captured(self, picture: NDArray[Any], stamp_ns: int, metadata: FrameMetadata, overrun: int = 0) -> None:
        """Publish a picture and its metadata; count the frame, and those missed before it, in the node's ledger.

        `overrun` of the missed ones were given up by this node, because it could not keep up.
        """
        ledger = self._counting_node.ledger
        for cause, count in (("overrun", overrun), ("not_captured", metadata.missed - overrun)):
            if count:
                ledger.received(count)
                ledger.dropped(cause, count)
        ledger.received()
        self.publish(picture, stamp_ns)
        metadata.header.stamp = to_stamp(stamp_ns)
        metadata.header.frame_id = self.frame_id
        self._metadata_publisher.publish(metadata)
        ledger.delivered()

    def close(self) -> None:
        super().close()
        self._counting_node.destroy_publisher(self._metadata_publisher)
