# SPDX-License-Identifier: Apache-2.0
"""Quality-of-service profiles by purpose; each call makes a fresh one, because overrides modify it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError


def sensor_input() -> QoSProfile:
    """Camera images as received: best effort.

    A few frames may wait here while the executor is busy. The worker's mailbox then keeps the newest and counts the
    others, which a queue of one inside the middleware would drop without a trace.
    """
    return QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=5)


def sensor_output() -> QoSProfile:
    """Camera images as published: sensor data, best effort."""
    return QoSProfile(reliability=ReliabilityPolicy.BEST_EFFORT, history=HistoryPolicy.KEEP_LAST, depth=5)


def result_image() -> QoSProfile:
    """Images the nodes make: reliable, so that viewers of either kind can subscribe, and short, to stay current."""
    return QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=2)


def result_data() -> QoSProfile:
    """Small results and reports: reliable, the last ten kept."""
    return QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=10)


def overridable() -> QoSOverridingOptions:
    """Let the user override history, depth and reliability by ``qos_overrides`` parameters."""
    return QoSOverridingOptions.with_default_policies()


def subscribe_counting_losses(
    node: Node,
    message_type: type,
    topic: str,
    callback: Callable[[Any], None],
    profile: QoSProfile,
    lost: Callable[[int], None],
    raw: bool = False,
) -> Subscription:
    """Subscribe with overridable QoS; `lost(count)` is told of messages the middleware knows it lost.

    With `raw` the callback gets messages serialized, as bytes. Where the middleware cannot tell, the subscription works
    without.
    """

    def count(info: Any) -> None:
        lost(info.total_count_change)

    def subscribe(events: SubscriptionEventCallbacks | None) -> Subscription:
        return node.create_subscription(
            message_type,
            topic,
            callback,
            profile,
            event_callbacks=events,
            qos_overriding_options=overridable(),
            raw=raw,
        )

    try:
        return subscribe(SubscriptionEventCallbacks(message_lost=count))
    except UnsupportedEventTypeError:
        return subscribe(None)
