# SPDX-License-Identifier: Apache-2.0
"""The page's part in measuring the live view: a program that behaves like it, and the real one in Chromium."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib.util
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from muon_ad_core.errors import UserError

CONNECT_PERIOD = 0.2  # seconds between attempts
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FIRST_PICTURE_PATIENCE = 60.0  # seconds
STYLISED_PICTURE = "[data-pane=stylized]:not(.stale)"


class ProgramPage:
    """Watches streams as the page does, and says at once that each picture is shown."""

    def __init__(self, port: int, streams: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()  # pictures by stream
        self._url = f"http://127.0.0.1:{port}/live"
        self._streams = list(streams)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="page", daemon=True)
        self._watching: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> ProgramPage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self) -> None:
        """Open the page, as soon as the server answers."""
        self._watching = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._watching is not None:
            self._watching.cancel()
            concurrent.futures.wait([self._watching])
            self._watching = None

    async def _watch(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.ws_connect(self._url) as socket:
                        await socket.send_json({"watch": self._streams})
                        await self._take(socket)
                except aiohttp.ClientError:  # the server is not there yet
                    await asyncio.sleep(CONNECT_PERIOD)

    async def _take(self, socket: Any) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "big")
                stream = json.loads(message.data[4 : 4 + length])["stream"]
                self.counts[stream] += 1
                await socket.send_json({"shown": stream})


def find_chromium() -> str | None:
    """Path of an installed Chromium, None when there is none."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


def time_first_picture(url: str, meanwhile: Callable[[], None]) -> float | None:
    """Seconds from opening the page in Chromium to the first stylised picture; None without Chromium or playwright.

    `meanwhile` is called again and again while waiting.
    Raises UserError when no picture comes within FIRST_PICTURE_PATIENCE.
    """
    chromium = find_chromium()
    if chromium is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        began = time.monotonic()
        page.goto(url, wait_until="commit")
        while not page.locator(STYLISED_PICTURE).count():
            meanwhile()
            if time.monotonic() - began > FIRST_PICTURE_PATIENCE:
                raise UserError(f"no picture came to the page in Chromium within {FIRST_PICTURE_PATIENCE:g} s")
        seconds = time.monotonic() - began
        browser.close()
    return seconds
