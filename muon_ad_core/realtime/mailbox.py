# SPDX-License-Identifier: Apache-2.0
"""Newest-frame mailbox: depth one, the newest item wins, nothing queues up under overload."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Hands items from the thread that receives them to the thread that works on them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._nudged = False
        self._closed = False
        self._superseded = 0

    @property
    def superseded(self) -> int:
        """How many items were replaced by a newer one before anybody took them."""
        return self._superseded

    def put(self, item: Item) -> Item | None:
        """Leave `item` for the taker; returns the older item it replaced, if that had not been taken.

        A closed mailbox hands the item straight back.
        """
        with self._condition:
            if self._closed:
                return item
            replaced, self._item = self._item, item
            if replaced is not None:
                self._superseded += 1
            self._condition.notify()
            return replaced

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for an item and leave it there; False when none came, or after `nudge`."""
        with self._condition:
            self._condition.wait_for(self._has_news, timeout)
            return self._item is not None

    def take(self, timeout: float) -> Item | None:
        """Wait up to `timeout` seconds for an item; None when none came, or after `nudge` or `close`."""
        with self._condition:
            self._condition.wait_for(self._has_news, timeout)
            item, self._item, self._nudged = self._item, None, False
            return item

    def nudge(self) -> None:
        """Wake the taker without an item, so that it looks after other work."""
        with self._condition:
            self._nudged = True
            self._condition.notify()

    def close(self) -> Item | None:
        """Wake the taker for good and refuse further items; returns the item nobody took, if any."""
        with self._condition:
            self._closed = True
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def _has_news(self) -> bool:
        return self._item is not None or self._nudged or self._closed

    @property
    def closed(self) -> bool:
        return self._closed
