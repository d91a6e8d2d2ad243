# SPDX-License-Identifier: Apache-2.0
"""The live view's server over real sockets, with a backend of the test."""

from __future__ import annotations

import concurrent.futures
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muon_ad_core.errors import ParameterError, UserError

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install -r requirements/view.txt")

from muon_ad_core.view.access import Access  # noqa: E402
from muon_ad_core.view.server import Answer, ViewServer  # noqa: E402


class RecordingBackend:
    """Answers as nodes would, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.thumbnails: dict[str, Path] = {}

    def change_parameters(self, node: str, values: Mapping[str, Any]) -> concurrent.futures.Future[Answer]:
        if node != "style_transfer":
            raise ParameterError(f"{node} has no controls here")
        self.asked.append((node, dict(values)))
        return answered(Answer(values.get("blend", 0) <= 1, "blend must lie within 0..1"))

    def load_style(self, name: str, picture: Path) -> concurrent.futures.Future[Answer]:
        self.asked.append((name, picture))
        return answered(Answer(True, ""))

    def style_names(self) -> list[str]:
        return ["waves"]

    def thumbnail(self, style: str) -> Path | None:
        return self.thumbnails.get(style)

    def watched_changed(self) -> None:
        pass


def answered(answer: Answer) -> concurrent.futures.Future[Answer]:
    future: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    future.set_result(answer)
    return future


class Site:
    """A running server and a client for it."""

    def __init__(self, folder: Path, token: str) -> None:
        self.backend = RecordingBackend()
        self.folder = folder
        self.server = ViewServer(self.backend, Access(token), folder)
        self.port = self.server.start("127.0.0.1", 0)

    def ask(
        self, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, text and headers of an answer; a redirection is followed once, with the cookie it sets."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, dict(headers or {}))
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        try:
            with opener.open(request, timeout=60) as response:
                return response.status, response.read().decode(errors="replace"), response.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace"), error.headers

    def set(self, node: str, values: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        status, text, _ = self.ask("/parameters", json.dumps({"node": node, "values": values}).encode())
        return status, json.loads(text)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path, token="")
    yield running
    running.server.close()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Site]:
    running = Site(tmp_path, token="word")
    yield running
    running.server.close()


def test_the_page_and_all_it_names_are_served_from_here_alone(site: Site) -> None:
    status, page, headers = site.ask("/")
    assert status == 200
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    for part in (
        "style.css",
        "main.js",
        "connection.js",
        "pictures.js",
        "controls.js",
        "plots.js",
        "nodes.js",
        "icon.svg",
    ):
        status, text, _ = site.ask(f"/page/{part}")
        assert status == 200
        page += text
    foreign = [word for word in page.split() if "://" in word and "w3.org" not in word and "location.host" not in word]
    assert foreign == []


def test_a_wrong_token_gets_nothing(locked: Site) -> None:
    locked.backend.thumbnails["waves"] = locked.folder / "waves.jpg"
    (locked.folder / "waves.jpg").write_bytes(b"secret")
    for path in ("/", "/page/main.js", "/live", "/thumbnails/waves", "/no_such_page"):
        for suffix in ("", "?token=wrong", "?token="):
            status, text, _ = locked.ask(path + suffix)
            assert status == 401
            assert "secret" not in text
            assert "needs its token" in text
    for path in ("/parameters", "/styles"):
        assert locked.ask(path, b"{}")[0] == 401
    assert locked.backend.asked == []


def test_the_token_is_taken_over_into_a_cookie_and_out_of_the_address(locked: Site) -> None:
    status, page, _ = locked.ask("/?token=word")  # the redirection is followed with the cookie
    assert status == 200
    assert "live view" in page
    status, _, _ = locked.ask("/page/main.js", headers={"Cookie": "muon_ad_view=word"})
    assert status == 200
    assert locked.ask("/", headers={"Cookie": "muon_ad_view=wrong"})[0] == 401


def test_other_web_sites_cannot_use_the_view(site: Site) -> None:
    body = json.dumps({"node": "style_transfer", "values": {"blend": 0.5}}).encode()
    assert site.ask("/parameters", body, {"Origin": "http://evil.example"})[0] == 403
    assert site.ask("/", headers={"Host": f"evil.example:{site.port}"})[0] == 403
    assert site.backend.asked == []


def test_parameters_are_asked_of_the_node_and_a_refusal_is_passed_on(site: Site) -> None:
    assert site.set("style_transfer", {"blend": 0.5})[0] == 200
    status, answer = site.set("style_transfer", {"blend": 2})
    assert (status, answer) == (409, {"success": False, "message": "blend must lie within 0..1"})
    status, answer = site.set("camera", {"rate": 1})
    assert status == 400
    assert answer["message"] == "camera has no controls here"
    assert site.ask("/parameters", b"no JSON")[0] == 400
    assert site.backend.asked == [("style_transfer", {"blend": 0.5}), ("style_transfer", {"blend": 2})]


def form(data: bytes, file_name: str) -> tuple[bytes, dict[str, str]]:
    head = f'--x\r\nContent-Disposition: form-data; name="picture"; filename="{file_name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def test_an_uploaded_picture_becomes_a_style(site: Site) -> None:
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert site.ask("/styles", *form(picture, "Waves.png"))[0] == 200
    assert site.backend.asked == [("waves_2", site.folder / "waves_2.png")]
    assert (site.folder / "waves_2.png").is_file()
    status, text, _ = site.ask("/styles", *form(b"text", "text.png"))
    assert status == 400
    assert "cannot be read as a picture" in text
    assert site.ask("/styles", b"", {"Content-Type": "multipart/form-data; boundary=x"})[0] == 400
    assert len(site.backend.asked) == 1


def test_thumbnails_are_served_where_there_are_any(site: Site) -> None:
    (site.folder / "a.jpg").write_bytes(b"thumbnail")
    site.backend.thumbnails["a/b c"] = site.folder / "a.jpg"
    assert site.ask("/thumbnails/a%2Fb%20c")[1] == "thumbnail"
    assert site.ask("/thumbnails/other")[0] == 404
    assert site.ask("/page/../server.py")[0] == 404


def test_pictures_flow_to_a_page_that_watches(site: Site) -> None:
    import asyncio

    from muon_ad_core.view.hub import pack_picture

    async def watch() -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{site.port}/live"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_json({"watch": ["color"]})
            seen = []
            async for message in socket:
                length = int.from_bytes(message.data[:4], "big")
                seen.append(json.loads(message.data[4 : 4 + length]))
                await socket.send_json({"shown": "color"})
                if len(seen) == 10:
                    return seen
        return seen

    stop = threading.Event()

    def publish() -> None:
        stamp = 0
        while not stop.wait(0.005):
            stamp += 1
            if site.server.is_hungry("color"):
                site.server.post_picture("color", pack_picture({"stream": "color", "stamp": stamp}, b"JPEG"))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        stamps = [picture["stamp"] for picture in asyncio.run(asyncio.wait_for(watch(), 60))]
    finally:
        stop.set()
        publisher.join()
    assert stamps == sorted(set(stamps))


def test_a_taken_port_is_an_error_the_user_can_mend(site: Site, tmp_path: Path) -> None:
    second = ViewServer(RecordingBackend(), Access(""), tmp_path)
    with pytest.raises(UserError, match=f"127.0.0.1:{site.port}.*choose another port"):
        second.start("127.0.0.1", site.port)
