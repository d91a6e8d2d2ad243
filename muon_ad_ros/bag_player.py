# SPDX-License-Identifier: Apache-2.0
"""Node bag_player: plays a recording (MCAP or sqlite3) at its own pace, with pause, step, loop and /clock."""

from __future__ import annotations

import importlib
import sys
import time
from collections import OrderedDict
from typing import Any

from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from muon_ad_core.errors import SourceError, UserError
from muon_ad_core.sources.bag import BagMessage, BagReader
from muon_ad_core.sources.bag_types import Topic, restamped
from muon_ad_core.sources.playback import PlaybackClock

from . import qos
from .bag_topics import COLOR_IMAGE, IMAGE, camera_names, parse_remaps, recorded_names
from .managed import run_node
from .parameters import ParameterSpec
from .playback_thread import PlaybackThread
from .reporting import ReportingNode
from .serialized import header_of
from .status import to_stamp

FRESH, ORIGINAL = "fresh", "original"
STAMPS_KEPT = 64  # recorded stamps whose fresh one is remembered, so that what belongs together stays so

_REOPEN = "clean the node up first"
BAG_PARAMETERS = (
    ParameterSpec("bag", "", "Recording to play: a rosbag2 folder, or an .mcap or .db3 file.", fixed=_REOPEN),
    ParameterSpec("topics", [], "Recorded names of the topics to play; empty: all.", fixed=_REOPEN),
    ParameterSpec("remap", [], "New names, as in '/recorded/name:=color/image_raw'.", fixed=_REOPEN),
    ParameterSpec(
        "camera_only",
        False,
        "Play only what stands for the joint task's camera, under the names it subscribes to.",
        fixed=_REOPEN,
    ),
    ParameterSpec("rate", 1.0, "Speed: 2 plays twice as fast.", minimum=0.01, maximum=100.0),
    ParameterSpec("loop", True, "Start again at the end.", fixed=_REOPEN),
    ParameterSpec("start_offset", 0.0, "Seconds to skip in every round.", minimum=0.0, maximum=1e9, fixed=_REOPEN),
    ParameterSpec(
        "stamps",
        FRESH,
        "fresh: header stamps are the time of publication. original: the recorded ones, in later rounds of a loop "
        "moved on with the play time, which never runs back.",
        choices=(FRESH, ORIGINAL),
    ),
    ParameterSpec("clock_rate", 0.0, "Rate of play time on /clock, in Hz; 0: none.", minimum=0.0, maximum=1000.0),
    ParameterSpec("paused", False, "Begin paused; the services ~/pause and ~/step go on.", fixed=_REOPEN),
)


class BagPlayer(ReportingNode):
    """Publishes recorded messages as they are, without unpacking them; only stamps are rewritten, in place."""

    role = "source"

    def __init__(self) -> None:
        super().__init__("bag_player", BAG_PARAMETERS)
        self._reader: BagReader | None = None
        self._player: PlaybackThread | None = None
        self._names: dict[str, str] = {}
        self._publishers_of: dict[str, Publisher] = {}
        self._fresh_stamps: OrderedDict[int, int] = OrderedDict()
        self._clock_publisher: Any = None
        self.create_service(SetBool, "~/pause", self._pause)
        self.create_service(Trigger, "~/step", self._step)

    # Lifecycle

    def configure(self) -> None:
        values = self.parameters.values
        if not values["bag"]:
            raise SourceError("the parameter bag is empty: name a rosbag2 folder, or an .mcap or .db3 file")
        reader = self._reader = BagReader(values["bag"])
        self._tell_damage(reader)
        remaps = parse_remaps(values["remap"])
        if values["camera_only"]:
            names = camera_names(reader.topics, remaps)
        else:
            names = recorded_names(reader.topics, values["topics"], remaps)
        self._names = {name: played for name, played in names.items() if self._known(name, reader.topics[name])}
        self._publishers_of = {name: self._make_publisher(name, reader.topics[name]) for name in self._names}
        self._clock_publisher = self.create_publisher(Clock, "/clock", qos.result_data())
        self.get_logger().info(f"{reader.path}: {', '.join(self._names.values())}, {reader.duration_ns / 1e9:.1f} s")

    def activate(self) -> None:
        assert self._reader is not None
        values = self.parameters.values
        messages = self._reader.messages(self._names, values["start_offset"], values["loop"])
        start_ns = self._reader.start_ns + round(values["start_offset"] * 1e9)
        clock = PlaybackClock(start_ns, time.monotonic_ns(), values["rate"], values["paused"])
        self._player = PlaybackThread(
            messages, clock, self._play, self._publish_clock, lambda: self.parameters["clock_rate"], self._ended
        )
        self._player.start()
        self.policy.keep()

    def deactivate(self) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None

    def cleanup(self) -> None:
        for publisher in (*self._publishers_of.values(), self._clock_publisher):
            if publisher is not None:
                self.destroy_publisher(publisher)
        self._publishers_of, self._clock_publisher = {}, None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def parameters_changed(self, changed: frozenset[str]) -> None:
        super().parameters_changed(changed)
        if "rate" in changed and self._player is not None:
            self._player.set_rate(self.parameters["rate"])

    # Playing, in the player's thread

    def _play(self, message: BagMessage, play_ns: int) -> None:
        """Publish a message whose instant has come."""
        assert self._reader is not None
        data = message.data
        if self._reader.topics[message.topic].has_header:
            data = restamped(data, self._stamp(data, play_ns - message.stamp_ns))
        began = time.monotonic()
        self._publishers_of[message.topic].publish(bytes(data))
        if self._names[message.topic].lstrip("/") == COLOR_IMAGE:
            self.ledger.received()
            self.ledger.delivered()
            self.reporter.record((time.monotonic() - began) * 1e3, missed=False)
        self._tell_damage(self._reader)

    def _publish_clock(self, play_ns: int) -> None:
        self._clock_publisher.publish(Clock(clock=to_stamp(play_ns)))

    def _ended(self, error: UserError | None) -> None:
        if self._reader is not None:
            self._tell_damage(self._reader)  # it may have been found at the very end
        if error is None:
            self.get_logger().info(f"{self.parameters['bag']} has been played to its end")
        else:
            self.get_logger().error(str(error))

    def _tell_damage(self, reader: BagReader) -> None:
        if reader.damage:
            self.complain("damage", reader.damage)

    def _stamp(self, data: bytes, shift_ns: int) -> int:
        """The stamp a serialized message gets; messages with the same recorded stamp get the same one."""
        recorded_ns, _ = header_of(data)
        if self.parameters["stamps"] == ORIGINAL:
            return recorded_ns + shift_ns
        fresh_ns = self._fresh_stamps.setdefault(recorded_ns + shift_ns, self.get_clock().now().nanoseconds)
        while len(self._fresh_stamps) > STAMPS_KEPT:
            self._fresh_stamps.popitem(last=False)
        return fresh_ns

    # Topics

    def _known(self, name: str, topic: Topic) -> bool:
        """Whether this machine has the topic's message type; says so if not."""
        if _message_class(topic.type) is not None:
            return True
        self.get_logger().warning(f"{name} is left out: its message type {topic.type} is not installed")
        return False

    def _make_publisher(self, name: str, topic: Topic) -> Publisher:
        profile: QoSProfile = qos.sensor_output() if topic.type == IMAGE else qos.result_data()
        if topic.transient_local:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        return self.create_publisher(
            _message_class(topic.type), self._names[name], profile, qos_overriding_options=qos.overridable()
        )

    # Services

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._player is None:
            response.message = "nothing is played: activate the node first"
            return response
        self._player.pause(request.data)
        response.success, response.message = True, "paused" if request.data else "playing"
        return response

    def _step(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._player is not None and self._player.step()
        response.message = "" if response.success else "pause first: ~/pause with data true"
        return response


def _message_class(message_type: str) -> Any:
    """The Python class of a type such as "sensor_msgs/msg/Image"; None when it is not installed."""
    package, _, name = message_type.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def main() -> None:
    sys.exit(run_node(BagPlayer))


if __name__ == "__main__":
    main()
