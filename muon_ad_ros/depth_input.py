# SPDX-License-Identifier: Apache-2.0
"""A detector's depth: the picture that belongs to a colour picture, registered to it where it is not already."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from muon_ad_core.detect.depth import median_distance
from muon_ad_core.detect.registration import DepthRegistration
from muon_ad_core.sources.calibration import Calibration

from . import qos
from .camera_info import calibration_of
from .conversions import ImageError, read_depth
from .reporting import ReportingNode
from .static_frames import Pose, StaticFramesListener
from .status import to_nanoseconds

TOLERANCE_NS = 15_000_000  # half a frame at 30 Hz
KEPT = 8  # depth pictures that wait for the colour picture they belong to


@dataclass(frozen=True)
class AlignedDepth:
    """Depth for each pixel of a colour picture, and that picture's calibration."""

    pixels: NDArray[Any]
    """Height x width, uint16 millimetres or float32 metres."""
    camera: Calibration


class DepthInput:
    """Subscribes to depth and what places it in space, while open; what is missing is counted as a fault of the node.

    A depth picture in the colour picture's own frame is registered already. From another frame it is registered here,
    by both cameras' camera_info and the place of one to the other.
    """

    def __init__(self, node: ReportingNode) -> None:
        self._node = node
        self._depths: deque[Image] = deque(maxlen=KEPT)
        self._color_info: CameraInfo | None = None
        self._depth_info: CameraInfo | None = None
        self._subscriptions: list[Any] = []
        self._frames: StaticFramesListener | None = None
        self._registration: DepthRegistration | None = None
        self._registered_by: tuple[Calibration, Calibration, bytes] | None = None
        self._distance_m = math.nan

    @property
    def is_open(self) -> bool:
        return bool(self._subscriptions)

    @property
    def distance_m(self) -> float:
        """Median distance in the middle of the latest depth picture; NaN while it is not known."""
        return self._distance_m if self.is_open else math.nan

    def open(self) -> None:
        """Subscribe."""
        create, profile = self._node.create_subscription, qos.sensor_input()
        self._subscriptions = [
            create(
                Image,
                "depth/image_rect_raw",
                self._remember_depth,
                profile,
                qos_overriding_options=qos.overridable(),
            ),
            create(CameraInfo, "color/camera_info", self._remember_color_info, qos.sensor_input()),
            create(CameraInfo, "depth/camera_info", self._remember_depth_info, qos.sensor_input()),
        ]
        self._frames = StaticFramesListener(self._node)

    def close(self) -> None:
        """Unsubscribe, if open."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if self._frames is not None:
            self._frames.close()
            self._frames = None
        self._depths.clear()

    def depth_for(self, header: Header, size: tuple[int, int]) -> AlignedDepth | None:
        """Depth for the colour picture with this header and size (height, width), or None."""
        message = self._message_for(to_nanoseconds(header.stamp))
        if message is None:
            return None
        info = self._color_info
        if info is None or (info.height, info.width) != size or not info.k[0]:
            self._node.fault("no_camera_info", "color/camera_info is missing or does not fit: no detections_3d")
            return None
        camera = calibration_of(info)
        try:
            depth = read_depth(message)
        except ImageError as error:
            self._node.fault(f"depth_{error.cause}", f"{error}: no detections_3d")
            return None
        if message.header.frame_id != header.frame_id:
            registered = self._register(depth, message.header.frame_id, header.frame_id, camera)
            if registered is None:
                return None
            depth = registered
        elif depth.shape != size:
            self._node.fault(
                "depth_size",
                f"the depth image is said to be in {header.frame_id} but has another size than the colour image: "
                "no detections_3d",
            )
            return None
        self._distance_m = median_distance(depth)
        return AlignedDepth(depth, camera)

    def _message_for(self, stamp_ns: int) -> Image | None:
        message = min(list(self._depths), key=lambda depth: _distance_ns(depth, stamp_ns), default=None)
        if message is None:
            return None
        if _distance_ns(message, stamp_ns) > TOLERANCE_NS:
            self._node.fault("no_depth_image", "no depth image has the colour image's stamp: no detections_3d")
            return None
        return message

    def _register(
        self, depth: NDArray[Any], depth_frame: str, color_frame: str, color: Calibration
    ) -> NDArray[np.uint16] | None:
        info = self._depth_info
        if info is None or (info.height, info.width) != depth.shape or not info.k[0]:
            self._node.fault("no_depth_camera_info", "depth/camera_info is missing or does not fit: no detections_3d")
            return None
        frames = self._frames
        pose = frames.frames.pose(depth_frame, seen_from=color_frame) if frames is not None else None
        if pose is None:
            self._node.fault(
                "no_extrinsics",
                f"where {depth_frame} is in {color_frame} is told neither by /tf_static nor by "
                "extrinsics/depth_to_color: no detections_3d",
            )
            return None
        return self._registration_by(calibration_of(info), color, pose).register(depth)

    def _registration_by(self, depth: Calibration, color: Calibration, pose: Pose) -> DepthRegistration:
        """The registration for these cameras; it is made anew only when they change."""
        given = (depth, color, pose.tobytes())
        if self._registration is None or given != self._registered_by:
            self._registration = DepthRegistration(depth, color, pose[:3, :3], pose[:3, 3])
            self._registered_by = given
        return self._registration

    def _remember_depth(self, depth: Image) -> None:
        self._depths.append(depth)

    def _remember_color_info(self, info: CameraInfo) -> None:
        self._color_info = info

    def _remember_depth_info(self, info: CameraInfo) -> None:
        self._depth_info = info


def _distance_ns(depth: Image, stamp_ns: int) -> int:
    return abs(to_nanoseconds(depth.header.stamp) - stamp_ns)
