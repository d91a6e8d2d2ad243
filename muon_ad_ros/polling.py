# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that are asked for their newest messages instead of calling back for each one.

A callback costs the executor a good part of a millisecond, whether its message is used or not. Who needs ten pictures
a second of a camera that makes sixty had better look ten times; the middleware's own queue keeps the newest meanwhile.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile


class _NeverCalledBack(CallbackGroup):
    """A callback group whose members the executor leaves alone."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        raise RuntimeError("a polled subscription was executed")


class PolledSubscription:
    """Keeps as many messages as the depth of its QoS profile; `take` may be called in any one thread."""

    def __init__(self, node: Node, message_type: type, topic: str, profile: QoSProfile) -> None:
        self._node = node
        self._type = message_type
        self._group = _NeverCalledBack()
        self._subscription = node.create_subscription(
            message_type, topic, lambda _: None, profile, callback_group=self._group
        )

    def take(self) -> list[Any]:
        """The messages that came since the last call, oldest first."""
        messages = []
        handle = self._subscription.handle
        with handle:
            while (taken := handle.take_message(self._type, False)) is not None:
                messages.append(taken[0])
        return messages

    def close(self) -> None:
        """Unsubscribe; not while `take` runs."""
        self._node.destroy_subscription(self._subscription)
