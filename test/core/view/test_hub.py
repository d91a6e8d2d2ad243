# SPDX-License-Identifier: Apache-2.0
"""What pages are sent: the newest of each kind, and never more than they can show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from muon_ad_core.view.hub import MOST_UNSHOWN, Hub, Page, pack_picture


class SlowSocket:
    """A socket that passes on one message whenever it is told to."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        self._gate = asyncio.Semaphore(0)

    def let_through(self, count: int = 1) -> None:
        for _ in range(count):
            self._gate.release()

    async def send_str(self, text: str) -> None:
        await self._gate.acquire()
        self.sent.append(text)

    async def send_bytes(self, data: bytes) -> None:
        await self._gate.acquire()
        self.sent.append(data)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run_with_page(scene: Callable[[Hub, Page, SlowSocket], Awaitable[None]]) -> list[frozenset[str]]:
    """Play a scene with one page that is being fed; returns what the hub said was watched."""
    watched: list[frozenset[str]] = []

    async def play() -> None:
        hub = Hub(lambda: watched.append(hub.watched))
        page, socket = hub.open(), SlowSocket()
        feeding = asyncio.create_task(page.feed(socket))
        await scene(hub, page, socket)
        feeding.cancel()

    asyncio.run(play())
    return watched


def test_a_slow_page_gets_the_newest_picture_and_none_queues_up() -> None:
    async def scene(hub: Hub, page: Page, socket: SlowSocket) -> None:
        hub.watch(page, ["color"])
        for number in range(100):
            hub.post_picture("color", bytes([number]))
            await settle()
        socket.let_through(100)
        await settle()
        assert socket.sent == [bytes([0]), bytes([99])]

    run_with_page(scene)


def test_a_page_that_shows_nothing_is_sent_nothing_more() -> None:
    async def scene(hub: Hub, page: Page, socket: SlowSocket) -> None:
        socket.let_through(100)
        hub.watch(page, ["color"])
        for number in range(10):
            hub.post_picture("color", bytes([number]))
            await settle()
        assert len(socket.sent) == MOST_UNSHOWN
        assert not hub.is_hungry("color")
        page.shown("color")
        await settle()
        assert socket.sent[-1] == bytes([9])
        page.shown("color")
        assert hub.is_hungry("color")

    run_with_page(scene)


def test_only_watched_streams_are_sent() -> None:
    async def scene(hub: Hub, page: Page, socket: SlowSocket) -> None:
        socket.let_through(100)
        hub.watch(page, ["color"])
        hub.post_picture("depth", b"depth")
        hub.watch(page, [])
        hub.post_picture("color", b"color")
        await settle()
        assert socket.sent == []

    assert run_with_page(scene) == [frozenset({"color"}), frozenset()]


def test_what_is_watched_is_the_sum_of_all_pages() -> None:
    async def scene(hub: Hub, page: Page, socket: SlowSocket) -> None:
        other = hub.open()
        hub.watch(page, ["color"])
        hub.watch(other, ["color", "depth"])
        hub.close(other)
        hub.close(page)

    assert run_with_page(scene) == [
        frozenset({"color"}),
        frozenset({"color", "depth"}),
        frozenset({"color"}),
        frozenset(),
    ]


def test_a_page_that_opens_later_is_told_the_state_but_not_what_passed() -> None:
    async def scene(hub: Hub, page: Page, socket: SlowSocket) -> None:
        hub.post("nodes", {"number": 1}, keep=True)
        hub.post("nodes", {"number": 2}, keep=True)
        hub.post("detections", {"boxes": []}, keep=False)
        late, its_socket = hub.open(), SlowSocket()
        its_socket.let_through(10)
        feeding = asyncio.create_task(late.feed(its_socket))
        await settle()
        feeding.cancel()
        assert [json.loads(text) for text in its_socket.sent] == [{"kind": "nodes", "number": 2}]

    run_with_page(scene)


def test_a_packed_picture_can_be_taken_apart() -> None:
    packed = pack_picture({"stream": "color", "stamp": 5}, b"JPEG")
    length = int.from_bytes(packed[:4], "big")
    assert json.loads(packed[4 : 4 + length]) == {"stream": "color", "stamp": 5}
    assert packed[4 + length :] == b"JPEG"
