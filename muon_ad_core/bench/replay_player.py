# SPDX-License-Identifier: Apache-2.0
"""Helper process of the replay benchmark: plays frames from memory at exact instants and says when it sent each."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rclpy

from muon_ad_core.bench.helper_process import Message, serve
from muon_ad_core.bench.replay_frames import Buffer, RecordedFrame, load
from muon_ad_core.bench.replay_schedule import TIMELINE, Turn, fixed_rate, timeline
from muon_ad_core.realtime.policy import PolicyRequest, apply_policy
from muon_ad_core.sources.bag_types import restamped
from muon_ad_ros import qos
from muon_ad_ros.bag_topics import COLOR_IMAGE
from muon_ad_ros.environment import apply_dds_profile

PRIORITY = 40  # under FIFO, as the camera of the joint task


class Player:
    """Publishes a recording; stamps are the time of publication."""

    def __init__(self) -> None:
        self._node = rclpy.create_node("replay_player")
        self._publishers: dict[str, Any] = {}
        self._buffer: Buffer | None = None

    def answer(self, request: Message) -> Message:
        """Requests: load (bag, bytes, namespace), subscribers, play (mode, rate, seconds, withhold)."""
        what = request.pop("what")
        answers: dict[str, Callable[..., Message]] = {
            "load": self._load,
            "subscribers": self._subscribers,
            "play": self._play,
        }
        return answers[what](**request)

    def _load(self, bag: str, most_bytes: int, namespace: str) -> Message:
        self._buffer = load(Path(bag), most_bytes)
        for topic, message_type in self._buffer.types.items():
            package, _, name = message_type.split("/")
            message_class = getattr(importlib.import_module(f"{package}.msg"), name)
            publisher = self._node.create_publisher(message_class, f"{namespace}/{topic}", qos.sensor_output())
            self._publishers[topic] = publisher
        frames, complete = len(self._buffer.frames), self._buffer.complete
        policy = str(apply_policy(PolicyRequest("FIFO", PRIORITY)))
        return {"frames": frames, "complete": complete, "rate_hz": self._buffer.rate_hz, "policy": policy}

    def _subscribers(self) -> Message:
        return {"count": self._publishers[COLOR_IMAGE].get_subscription_count()}

    def _play(self, mode: str, rate: float, seconds: float, withhold: list[int]) -> Message:
        """Play for so long; `withhold`: numbers of frames that are made but, as a fault, not published."""
        assert self._buffer is not None
        frames = self._buffer.frames
        turns: Iterator[Turn] = (
            timeline([frame.stamp_ns for frame in frames], self._buffer.rate_hz)
            if mode == TIMELINE
            else fixed_rate(mode, len(frames), rate)
        )
        sent: list[list[Any]] = []
        begin = time.monotonic() + 0.1
        for number, turn in enumerate(turns):
            if turn.at_s >= seconds:
                return {"sent": sent}
            due = begin + turn.at_s
            time.sleep(max(0.0, due - time.monotonic()))
            stamp_ns, now_ns = time.time_ns(), time.monotonic_ns()
            frame = frames[turn.frame]
            sent.append([stamp_ns, frame.frame_id, round(due * 1e9), now_ns])
            if number not in withhold:
                self._publish(frame, stamp_ns)
        return {"sent": sent}

    def _publish(self, frame: RecordedFrame, stamp_ns: int) -> None:
        for topic, data in frame.messages.items():
            self._publishers[topic].publish(restamped(data, stamp_ns))


def main() -> None:
    """Serve the benchmark."""
    apply_dds_profile()
    rclpy.init()
    serve(Player().answer)
    rclpy.shutdown()


if __name__ == "__main__":
    main()
