# SPDX-License-Identifier: Apache-2.0
"""A worker's input: image messages are checked, thinned out and left in a mailbox, and each one is accounted for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import Image

from muon_ad_core.realtime.mailbox import Mailbox
from muon_ad_core.realtime.pacing import RateLimiter
from muon_ad_core.realtime.stamps import CLOCK_JUMPED_BACK, IN_ORDER, OUT_OF_ORDER, StampMonitor

from . import qos
from .reporting import ReportingNode
from .status import to_nanoseconds

FOREIGN_CLOCK_NS = 10_000_000_000  # a stamp further from the node's clock than this was not made by that clock

STAMP_FAULTS = {
    CLOCK_JUMPED_BACK: "image stamps jumped back (a bag loops or a clock was set): going on from there",
    OUT_OF_ORDER: "an image came after a newer one; such frames are skipped",
}


@dataclass(frozen=True)
class ReceivedFrame:
    """An image message and when it came."""

    message: Image
    received_ns: int  # ROS time
    origin_ns: int  # ROS time from which latency counts: the stamp, or reception if another clock made the stamp
    received: float  # monotonic, seconds


class FrameIntake:
    """Subscribes to color/image_raw on behalf of a node and keeps the newest frame for its worker thread."""

    def __init__(self, node: ReportingNode, max_rate: float) -> None:
        self._node = node
        self._limiter = RateLimiter(max_rate)
        self._stamps = StampMonitor()
        self._mailbox: Mailbox[ReceivedFrame] = Mailbox()
        self._subscription: Any = None

    def open(self) -> None:
        """Subscribe."""
        self._stamps = StampMonitor()
        self._mailbox = Mailbox()
        self._subscription = qos.subscribe_counting_losses(
            self._node, Image, "color/image_raw", self._receive, qos.sensor_input(), self._count_lost
        )

    def close(self) -> None:
        """Unsubscribe and end the taker's wait."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        if self._mailbox.close() is not None:
            self._node.ledger.dropped("deactivated")

    @property
    def closed(self) -> bool:
        return self._mailbox.closed

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a frame and leave it there, for a newer one to replace."""
        return self._mailbox.wait(timeout)

    def take(self) -> ReceivedFrame | None:
        """The newest frame; None when there is none."""
        return self._mailbox.take(timeout=0.0)

    def nudge(self) -> None:
        """End the taker's wait without a frame."""
        self._mailbox.nudge()

    def set_max_rate(self, max_rate: float) -> None:
        """Accept at most this many frames a second; 0: all."""
        self._limiter.max_rate = max_rate

    def _receive(self, message: Image) -> None:
        now_ns, now = self._node.get_clock().now().nanoseconds, time.monotonic()
        ledger = self._node.ledger
        ledger.received()
        stamp_ns = to_nanoseconds(message.header.stamp)
        order = self._stamps.judge(stamp_ns)
        if order != IN_ORDER:
            self._node.drop(order, STAMP_FAULTS[order])
        elif not self._limiter.accept(now):
            ledger.dropped("max_rate")
        else:
            origin_ns = self._origin_of_latency(stamp_ns, now_ns)
            if self._mailbox.put(ReceivedFrame(message, now_ns, origin_ns, now)) is not None:
                ledger.dropped("superseded")

    def _origin_of_latency(self, stamp_ns: int, now_ns: int) -> int:
        if abs(now_ns - stamp_ns) <= FOREIGN_CLOCK_NS:
            return stamp_ns
        self._node.fault(
            "foreign_clock",
            f"image stamps are {abs(now_ns - stamp_ns) / 1e9:.0f} s away from this node's clock: latency counts from "
            "reception; for a bag, set use_sim_time and have its player publish /clock",
        )
        return now_ns

    def _count_lost(self, count: int) -> None:
        self._node.ledger.received(count)
        self._node.ledger.dropped("lost_in_transport", count)
