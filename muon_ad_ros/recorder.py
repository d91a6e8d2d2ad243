# SPDX-License-Identifier: Apache-2.0
"""Node recorder: writes the joint task's topics to one MCAP file without disturbing the nodes it watches.

Pictures dominate the cost. Subscribing to stylized/image_raw/compressed would make style_transfer encode JPEG
in its own process, in the way of the next frame; so the recorder takes the raw pictures (unacknowledged:
nothing is sent again for its sake) and encodes them itself, in a thread of low priority. When that thread
falls behind, pictures are left out and counted, while the header of every picture is still recorded.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from muon_ad_core.bench.mcap_file import McapFile, MessageDefinitions
from muon_ad_core.errors import UserError
from muon_ad_core.realtime.pacing import RateLimiter

from .conversions import ImageError, JpegWriter, RgbReader
from .managed import ManagedNode, run_node
from .parameters import ParameterSpec

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
HEADER = "std_msgs/msg/Header"
JOINT_TASK_TOPICS = [
    "color/image_raw",
    "color/camera_info",
    "stylized/image_raw",
    "stylized/camera_info",
    "detections",  # not detections_3d: subscribing to it would start the costly depth stream
    "camera/status",
    "style_transfer/timing",
    "style_transfer/status",
    "detector/timing",
    "detector/status",
    "scheduler/status",
    "/diagnostics",
    "/parameter_events",
    "/rosout",
]
LOOK_PERIOD = 0.25  # seconds between looks for topics that have appeared
MOST_PICTURES = 24  # raw pictures that wait to be written: 22 MB at 640x480
WRITER_NICENESS = 5
IMAGE_DEPTH = 30  # a second of pictures may wait for a processor, so that at least their headers are recorded
DATA_DEPTH = 200

_NOT_WHILE_RECORDING = "deactivate and clean the node up first"
PARAMETERS = (
    ParameterSpec("output", "recording.mcap", "File to write; it must not exist yet.", fixed=_NOT_WHILE_RECORDING),
    ParameterSpec("topics", JOINT_TASK_TOPICS, "Topics to record.", fixed=_NOT_WHILE_RECORDING),
    ParameterSpec("jpeg_quality", 80, "JPEG quality of recorded pictures.", minimum=1, maximum=100),
    ParameterSpec(
        "thinned_topics",
        ["color/image_raw"],
        "Image topics of which not every picture is kept.",
        fixed=_NOT_WHILE_RECORDING,
    ),
    ParameterSpec(
        "thinned_rate",
        20.0,
        "Pictures a second to keep of those; 0: all.",
        minimum=0.0,
        maximum=1000.0,
        fixed=_NOT_WHILE_RECORDING,
    ),
    ParameterSpec(
        "measuring",
        False,
        "Marks the time that reports cover: the change shows in the recorded /parameter_events.",
    ),
)


@dataclass(frozen=True)
class Received:
    """A serialized message on its way to the file."""

    topic: str
    message_type: str
    time_ns: int
    data: bytes
    picture: bool = False  # to be compressed


class RecordingThread:
    """Compresses and writes what the subscriptions receive."""

    def __init__(self, path: Path) -> None:
        """Opens the file; raises UserError when that cannot be."""
        self.jpeg_quality = 80
        self.written = 0
        self.pictures_left_out = 0
        self.failure = ""  # why nothing is written any more
        self._file = McapFile(path, MessageDefinitions.from_environment())
        self._queue: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._pictures = threading.Semaphore(MOST_PICTURES)
        self._reader = RgbReader()
        self._jpeg = JpegWriter()
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, received: Received) -> None:
        """Hand over a message; never waits. A picture too many is left out, all else is small enough to wait."""
        if self.failure:
            return
        if received.picture and not self._pictures.acquire(blocking=False):
            self.pictures_left_out += 1
        else:
            self._queue.put(received)

    def close(self) -> None:
        """Write what is waiting and finish the file."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WRITER_NICENESS)
        try:
            self._write_all()
            self._file.close()
        except (OSError, UserError) as error:
            self.failure = str(error)

    def _write_all(self) -> None:
        while (received := self._queue.get()) is not None:
            if received.picture:
                self._pictures.release()
                self._write_picture(received)
            else:
                self._write(received.topic, received.message_type, received)

    def _write_picture(self, received: Received) -> None:
        image = deserialize_message(received.data, Image)
        try:
            jpeg = self._jpeg.write(self._reader.read(image), image.header, self.jpeg_quality)
        except ImageError:  # the workers complain about it; its header is in the file
            self.pictures_left_out += 1
            return
        compressed = Received(received.topic, COMPRESSED_IMAGE, received.time_ns, serialize_message(jpeg))
        self._write(f"{received.topic}/compressed", COMPRESSED_IMAGE, compressed)

    def _write(self, topic: str, message_type: str, received: Received) -> None:
        self._file.write(topic, message_type, received.time_ns, received.data)
        self.written += 1


class Recorder(ManagedNode):
    """Records each topic from the moment it appears until the node is deactivated.

    An image topic becomes two: TOPIC/header with every picture's header and time of arrival, and
    TOPIC/compressed.
    """

    def __init__(self) -> None:
        self._recording: RecordingThread | None = None
        super().__init__("recorder", PARAMETERS)
        self._own_subscriptions: dict[str, Any] = {}
        self._timer: Any = None

    def activate(self) -> None:
        self._recording = RecordingThread(Path(self.parameters["output"]).expanduser())
        self._recording.jpeg_quality = self.parameters["jpeg_quality"]
        self._timer = self.create_timer(LOOK_PERIOD, self._look_around, clock=self.steady_clock)
        self._look_for_topics()

    def deactivate(self) -> None:
        if self._recording is None:
            return
        self.destroy_timer(self._timer)
        for subscription in self._own_subscriptions.values():
            self.destroy_subscription(subscription)
        self._own_subscriptions.clear()
        recording, self._recording = self._recording, None
        recording.close()
        # Not by the logger: after Ctrl-C there is no context left to publish on /rosout.
        print(
            f"[INFO] recorded {recording.written} messages in {self.parameters['output']}; "
            f"left out {recording.pictures_left_out} pictures",
            flush=True,
        )

    def parameters_changed(self, changed: frozenset[str]) -> None:
        if self._recording is not None:
            self._recording.jpeg_quality = self.parameters["jpeg_quality"]

    def _look_around(self) -> None:
        if self._recording is not None and self._recording.failure:
            sentence = f"{self.parameters['output']} cannot be written any more: {self._recording.failure}"
            self.get_logger().error(sentence)
            raise UserError(sentence)
        self._look_for_topics()

    def _look_for_topics(self) -> None:
        present = dict(self.get_topic_names_and_types())
        for topic in self.parameters["topics"]:
            name = self.resolve_topic_name(topic)
            published = name in present and self.count_publishers(name) > 0
            if published and name not in self._own_subscriptions:
                self._own_subscriptions[name] = self._subscribe(topic, name, present[name][0])

    def _subscribe(self, topic: str, name: str, message_type: str) -> Any:
        if message_type == IMAGE:
            thinned = topic in self.parameters["thinned_topics"]
            limiter = RateLimiter(self.parameters["thinned_rate"]) if thinned else None
            receive = partial(self._receive_picture, name, limiter)
        else:
            receive = partial(self._receive, name, message_type)
        profile = self._profile(name, message_type)
        return self.create_subscription(_message_class(message_type), name, receive, profile, raw=True)

    def _profile(self, name: str, message_type: str) -> QoSProfile:
        """Best effort for pictures and where a publisher offers no more; a long queue for all others."""
        offered = [info.qos_profile.reliability for info in self.get_publishers_info_by_topic(name)]
        reliable = message_type != IMAGE and ReliabilityPolicy.BEST_EFFORT not in offered
        return QoSProfile(
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            history=HistoryPolicy.KEEP_LAST,
            depth=IMAGE_DEPTH if message_type == IMAGE else DATA_DEPTH,
        )

    def _receive(self, name: str, message_type: str, data: bytes) -> None:
        if self._recording is not None:
            self._recording.put(Received(name, message_type, self.get_clock().now().nanoseconds, data))

    def _receive_picture(self, name: str, limiter: RateLimiter | None, data: bytes) -> None:
        if self._recording is None:
            return
        now_ns = self.get_clock().now().nanoseconds
        self._recording.put(Received(f"{name}/header", HEADER, now_ns, image_header(data)))
        if limiter is None or limiter.accept(time.monotonic()):
            self._recording.put(Received(name, IMAGE, now_ns, data, picture=True))


def image_header(data: bytes) -> bytes:
    """The serialized header of a serialized sensor_msgs/Image.

    It is the message's first field, so that its CDR encoding is the beginning of the message's: 4 bytes of
    encapsulation, 8 of stamp, 4 that give the length of frame_id, and frame_id.
    """
    length = int.from_bytes(data[12:16], "little" if data[1] & 1 else "big")
    return data[: 16 + length]


def _message_class(message_type: str) -> type:
    package, _, name = message_type.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError:
        raise UserError(
            f"messages of type {message_type} cannot be recorded: the package {package} is missing"
        ) from None


def main() -> None:
    sys.exit(run_node(Recorder))


if __name__ == "__main__":
    main()
