# SPDX-License-Identifier: Apache-2.0
"""Node frame_sync: sets of frames of several cameras that were taken together, and an account of every frame."""

from __future__ import annotations

import sys
import time
from collections import deque
from functools import partial
from typing import Any

from muon_ad_msgs.msg import ClockStatus, FrameSet, SyncStatus
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image

from muon_ad_core.errors import ParameterError
from muon_ad_core.timing.pairing import MatchedSet, PairingEngine

from . import qos
from .clock_gate import ClockGate
from .managed import ManagedNode, run_node
from .parameters import ParameterSpec, Values
from .serialized import header_of
from .status import to_stamp

TOPICS = {
    "color": "color/image_raw",
    "depth": "depth/image_rect_raw",
    "aligned_depth": "aligned_depth_to_color/image_raw",
    "infra1": "infra1/image_rect_raw",
    "infra2": "infra2/image_rect_raw",
    "csi": "csi/image_raw",
}
"""Name of a stream -> its image topic; its camera_info is beside it."""
OUTPUT = "synced"
REPORT_PERIOD = 1.0  # seconds
FATES = ("received", "matched", "unmatched", "overflow", "late", "duplicate", "out_of_order", "cleared", "pending")

_REOPEN = "clean the node up first"
SYNC_PARAMETERS = (
    ParameterSpec("streams", ["color", "depth"], f"Two or more of: {', '.join(TOPICS)}.", fixed=_REOPEN),
    ParameterSpec("rate", 30.0, "Frames a second of the slowest stream.", minimum=0.1, maximum=1000.0, fixed=_REOPEN),
    ParameterSpec(
        "slop_ms",
        0.0,
        "Largest spread of a set, in milliseconds; 0: half a period.",
        minimum=0.0,
        maximum=10_000.0,
    ),
    ParameterSpec("queue", 10, "Frames of a stream that wait at most.", minimum=1, maximum=1000, fixed=_REOPEN),
    ParameterSpec(
        "require_clock_locked",
        False,
        "Pair only while clock/status says LOCKED: frames that come meanwhile are counted as gated.",
    ),
)


class FrameSync(ManagedNode):
    """Publishes matched frames below synced/, as they were received: with their own stamps, not unpacked."""

    def __init__(self) -> None:
        super().__init__("frame_sync", SYNC_PARAMETERS)
        self._gate = ClockGate()
        self._engine: PairingEngine[bytes] | None = None
        self._handles: list[Any] = []
        self._outputs: dict[str, tuple[Publisher, Publisher]] = {}
        self._infos: dict[str, CameraInfo] = {}
        self._spreads_ns: deque[int] = deque(maxlen=10_000)
        self._sets = 0
        self._reported = (0, time.monotonic())  # sets, and when
        self._set_publisher = self.create_publisher(FrameSet, f"{OUTPUT}/set", qos.result_data())
        self._status_publisher = self.create_publisher(SyncStatus, "sync/status", qos.result_data())
        self.create_subscription(ClockStatus, "clock/status", self._remember_clock, qos.result_data())
        self.create_timer(REPORT_PERIOD, self._report, clock=self.steady_clock)
        backward = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump = self.get_clock().create_jump_callback(backward, post_callback=self._clock_jumped)

    # Lifecycle

    def configure(self) -> None:
        values = self.parameters.values
        self._names = stream_names(values)
        self._gated = dict.fromkeys(self._names, 0)
        self._lost = dict.fromkeys(self._names, 0)
        self._sets = 0
        self._infos.clear()
        self._engine = PairingEngine(
            self._names, round(1e9 / values["rate"]), self._publish, slop_ns(values), values["queue"]
        )
        for name in self._names:
            topic = TOPICS[name]
            info_topic = f"{topic.rsplit('/', 1)[0]}/camera_info"
            self._outputs[name] = (
                self.create_publisher(
                    Image, f"{OUTPUT}/{topic}", qos.sensor_output(), qos_overriding_options=qos.overridable()
                ),
                self.create_publisher(CameraInfo, f"{OUTPUT}/{info_topic}", qos.sensor_output()),
            )

    def activate(self) -> None:
        profile = qos.sensor_input()
        profile.depth = 2 * self.parameters["queue"]  # every frame counts here, also after a stall
        for name in self._names:
            topic = TOPICS[name]
            info_topic = f"{topic.rsplit('/', 1)[0]}/camera_info"
            self._handles += [
                qos.subscribe_counting_losses(
                    self,
                    Image,
                    topic,
                    partial(self._receive, name),
                    profile,
                    partial(self._count_lost, name),
                    raw=True,
                ),
                self.create_subscription(
                    CameraInfo, info_topic, partial(self._infos.__setitem__, name), qos.sensor_input()
                ),
            ]

    def deactivate(self) -> None:
        for handle in self._handles:
            self.destroy_subscription(handle)
        self._handles.clear()
        if self._engine is not None:
            self._engine.clear()

    def cleanup(self) -> None:
        for publishers in self._outputs.values():
            for publisher in publishers:
                self.destroy_publisher(publisher)
        self._outputs.clear()
        self._engine = None

    def check_parameters(self, proposed: Values, changed: frozenset[str]) -> None:
        if "streams" in changed:
            stream_names(proposed)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        if self._engine is not None:
            self._engine.slop_ns = slop_ns(self.parameters.values)

    # Frames

    def _receive(self, name: str, data: bytes) -> None:
        assert self._engine is not None
        if self.parameters["require_clock_locked"] and self._gate.closed(time.monotonic()):
            self._gated[name] += 1
            return
        self._engine.add(name, header_of(data)[0], data)

    def _publish(self, matched: MatchedSet[bytes]) -> None:
        self._sets += 1
        self._spreads_ns.append(matched.spread_ns)
        stamps = [to_stamp(stamp_ns) for stamp_ns in matched.stamps_ns]
        for name, stamp, data in zip(self._names, stamps, matched.items):
            image_publisher, info_publisher = self._outputs[name]
            info = self._infos.get(name)
            if info is not None:
                info.header.stamp, info.header.frame_id = stamp, header_of(data)[1]
                info_publisher.publish(info)
            image_publisher.publish(data)
        message = FrameSet(streams=self._names, stamps=stamps, spread_ns=matched.spread_ns)
        message.header.stamp = to_stamp(min(matched.stamps_ns))
        self._set_publisher.publish(message)

    def _count_lost(self, name: str, count: int) -> None:
        self._lost[name] += count

    # Clocks

    def _remember_clock(self, status: ClockStatus) -> None:
        self._gate.remember(status.state == ClockStatus.LOCKED, status.reason, time.monotonic())

    def _clock_jumped(self, jump: Any) -> None:
        """ROS time was set back, for example by a simulation that starts again: what waits is of the past."""
        if self._engine is not None:
            self._engine.clear()

    # Report

    def _report(self) -> None:
        if self._engine is None:
            return
        counts = self._engine.counts()
        status = SyncStatus(streams=self._names)
        for fate in FATES:
            setattr(status, fate, [getattr(counts[name], fate) for name in self._names])
        status.gated = [self._gated[name] for name in self._names]
        status.received = [received + gated for received, gated in zip(status.received, status.gated)]
        status.lost = [self._lost[name] for name in self._names]
        status.slop_ms = self._engine.slop_ns / 1e6
        status.jumps = self._engine.jumps
        self._add_sets(status)
        reason = self._gate.closed(time.monotonic()) if self.parameters["require_clock_locked"] else ""
        status.open, status.reason = not reason, reason
        status.header.stamp = self.get_clock().now().to_msg()
        self._status_publisher.publish(status)

    def _add_sets(self, status: SyncStatus) -> None:
        """Sets, their rate and their spread since the previous status."""
        sets, now = self._sets, time.monotonic()
        sets_before, then = self._reported
        status.sets = sets
        status.rate_hz = max(0, sets - sets_before) / max(now - then, 1e-3)
        self._reported = (sets, now)
        spreads_ns = sorted(self._spreads_ns)
        self._spreads_ns.clear()
        if spreads_ns:
            status.spread_p50_ms = spreads_ns[len(spreads_ns) // 2] / 1e6
            status.spread_max_ms = spreads_ns[-1] / 1e6


def stream_names(values: Values) -> list[str]:
    """The streams to pair. Raises ParameterError."""
    names = list(values["streams"])
    if len(names) < 2 or len(set(names)) < len(names) or not set(names) <= set(TOPICS):
        raise ParameterError(f"streams must name two or more of {', '.join(TOPICS)}, each once, not {names}")
    return names


def slop_ns(values: Values) -> int:
    """The largest spread of a set."""
    return round(values["slop_ms"] * 1e6) or round(0.5e9 / values["rate"])


def main() -> None:
    sys.exit(run_node(FrameSync))


if __name__ == "__main__":
    main()
