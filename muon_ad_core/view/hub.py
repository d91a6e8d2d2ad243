# SPDX-License-Identifier: Apache-2.0
"""What open pages still have to be sent: the newest of each kind. Nothing queues up for a slow browser.

Runs in the server's event loop; `watched` and `is_hungry` may be asked from any thread.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

MOST_UNSHOWN = 2
"""Pictures of a stream a page may have that it has not shown yet; then it gets no further one."""


class Socket(Protocol):
    """The sending half of a web socket."""

    async def send_str(self, text: str) -> None: ...

    async def send_bytes(self, data: bytes) -> None: ...


class Page:
    """One open page: the streams it watches, what waits for it, and how many pictures it has not shown yet."""

    def __init__(self) -> None:
        self.watched: frozenset[str] = frozenset()
        self._waiting: dict[str, str | bytes] = {}  # by kind of message or by stream, the newest of each
        self._unshown: Counter[str] = Counter()
        self._wake = asyncio.Event()

    def post(self, kind: str, content: str | bytes) -> None:
        """Leave something to be sent; it replaces what waits under the same name."""
        self._waiting[kind] = content
        self._wake.set()

    def shown(self, stream: str) -> None:
        """The page says that it has shown a picture."""
        self._unshown[stream] = max(0, self._unshown[stream] - 1)
        self._wake.set()

    def is_hungry(self, stream: str) -> bool:
        """Whether the page would be sent a picture of this stream at once."""
        return stream in self.watched and self._unshown[stream] < MOST_UNSHOWN

    async def feed(self, socket: Socket) -> None:
        """Send what waits, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for kind in [kind for kind, content in self._waiting.items() if self._may_go(kind, content)]:
                content = self._waiting.pop(kind)
                if isinstance(content, str):
                    await socket.send_str(content)
                else:
                    self._unshown[kind] += 1
                    await socket.send_bytes(content)

    def _may_go(self, kind: str, content: str | bytes) -> bool:
        return isinstance(content, str) or self.is_hungry(kind)


class Hub:
    """All open pages."""

    def __init__(self, watched_changed: Callable[[], None]) -> None:
        self.watched: frozenset[str] = frozenset()
        self._pages: frozenset[Page] = frozenset()
        self._state: dict[str, str] = {}  # the newest of each kind, for pages that open later
        self._watched_changed = watched_changed

    def open(self) -> Page:
        """A new page; it is told the present state."""
        page = Page()
        for kind, text in self._state.items():
            page.post(kind, text)
        self._pages |= {page}
        return page

    def close(self, page: Page) -> None:
        """The page has gone."""
        self._pages -= {page}
        self._gather()

    def watch(self, page: Page, streams: Iterable[str]) -> None:
        """The page now watches these streams and no others."""
        page.watched = frozenset(streams)
        self._gather()

    def is_hungry(self, stream: str) -> bool:
        """Whether a picture of this stream, made now, would be sent to anybody."""
        return any(page.is_hungry(stream) for page in self._pages)

    def post(self, kind: str, message: Mapping[str, Any], keep: bool) -> None:
        """Send a message to all pages; with `keep`, also to those that open later."""
        text = json.dumps({"kind": kind, **message})
        if keep:
            self._state[kind] = text
        for page in self._pages:
            page.post(kind, text)

    def post_picture(self, stream: str, picture: bytes) -> None:
        """Send an encoded picture to the pages that watch its stream."""
        for page in self._pages:
            if stream in page.watched:
                page.post(stream, picture)

    def _gather(self) -> None:
        watched = frozenset().union(*(page.watched for page in self._pages))
        if watched != self.watched:
            self.watched = watched
            self._watched_changed()


def pack_picture(about: Mapping[str, Any], jpeg: bytes) -> bytes:
    """A picture as it travels: 4 bytes of length (big endian), so much JSON about it, and the JPEG file."""
    head = json.dumps(about).encode()
    return len(head).to_bytes(4, "big") + head + jpeg
