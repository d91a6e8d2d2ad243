# SPDX-License-Identifier: Apache-2.0
"""What moves on the live view's page: pictures, detections and frame times, taken only while somebody looks.

Nothing is subscribed to while no page is open. A thread looks at the subscriptions at a steady rate, takes the newest
of each, and that of a picture only when a page has shown the one before.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from muon_ad_msgs.msg import FrameTiming
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from muon_ad_core.realtime.pacing import Pacer
from muon_ad_core.view.server import ViewServer

from . import view_messages
from .conversions import ImageError
from .polling import PolledSubscription
from .view_pictures import PictureEncoder

# Stream -> topic, relative to the view's namespace.
PICTURES = {"color": "color/image_raw", "stylized": "stylized/image_raw", "depth": "depth/image_rect_raw"}
TIMINGS = {"style_timing": "style_transfer/timing", "detector_timing": "detector/timing"}
DETECTIONS = "detections"
STREAMS = {**PICTURES, **TIMINGS, DETECTIONS: "detections"}

DATA_DEPTH = 100
# Looks from one message to the next: depth changes less than colour, and a plot is as good five times a second.
EVERY = {"depth": 2, "style_timing": 4, "detector_timing": 4}


@dataclass(frozen=True)
class PictureSettings:
    """How pictures are sent: looks a second, JPEG quality 1..100, largest width in pixels."""

    rate: float
    quality: int
    max_width: int


class ViewFeed:
    """Feeds a server from topics; `follow_demand` is for the executor's thread."""

    def __init__(self, node: Node, server: ViewServer, settings: PictureSettings) -> None:
        self.settings = settings
        self._node = node
        self._server = server
        self._encoder = PictureEncoder()
        self._lock = threading.Lock()  # around the subscriptions
        self._subscriptions: dict[str, PolledSubscription] = {}
        self._wanted = threading.Event()
        self._pacer = Pacer(settings.rate)
        self._looks = 0
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unsubscribe and end the thread."""
        self._pacer.stop()
        self._wanted.set()
        self._thread.join()
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()

    def renew(self, settings: PictureSettings) -> None:
        """Go on with other settings."""
        self.settings = settings
        self._pacer.set_rate(settings.rate)

    def follow_demand(self) -> None:
        """Subscribe to what the pages watch, and to nothing else."""
        watched = self._server.watched & STREAMS.keys()
        with self._lock:
            for stream in self._subscriptions.keys() - watched:
                self._subscriptions.pop(stream).close()
            for stream in watched - self._subscriptions.keys():
                self._subscriptions[stream] = self._subscribe(stream)
        if watched:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _subscribe(self, stream: str) -> PolledSubscription:
        message_type = Image if stream in PICTURES else FrameTiming if stream in TIMINGS else Detection2DArray
        profile = QoSProfile(
            reliability=ReliabilityPolicy.BEST_EFFORT,  # nothing is sent again for the view's sake
            history=HistoryPolicy.KEEP_LAST,
            depth=DATA_DEPTH if stream in TIMINGS else 1,
        )
        return PolledSubscription(self._node, message_type, STREAMS[stream], profile)

    def _run(self) -> None:
        while not self._pacer.stopped:
            self._wanted.wait()
            self._pacer.wait()
            self._looks += 1
            for stream, messages in self._take().items():
                if stream in PICTURES:
                    self._send_picture(stream, messages[-1])
                elif stream in TIMINGS:
                    self._server.post(stream, {"frames": [view_messages.timing(message) for message in messages]})
                else:
                    self._server.post(stream, view_messages.detections(messages[-1]))

    def _take(self) -> dict[str, list[Any]]:
        """What came on each subscription since the last look, without those on which nothing came."""
        with self._lock:
            taken = {stream: sub.take() for stream, sub in self._subscriptions.items() if self._is_due(stream)}
        return {stream: messages for stream, messages in taken.items() if messages}

    def _is_due(self, stream: str) -> bool:
        """Whether to take what came on a stream: taking a picture costs as much as encoding it."""
        on_turn = self._looks % EVERY.get(stream, 1) == 0
        return on_turn and (stream not in PICTURES or self._server.is_hungry(stream))

    def _send_picture(self, stream: str, message: Image) -> None:
        settings = self.settings
        try:
            picture = self._encoder.encode(stream, message, settings.quality, settings.max_width)
        except ImageError as error:
            self._server.post(f"fault_{stream}", {"stream": stream, "message": str(error)})
        else:
            self._server.post_picture(stream, picture)
