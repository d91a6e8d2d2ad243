# SPDX-License-Identifier: Apache-2.0
"""The live view's web server: one page, one web socket for what moves, requests for what is changed.

It runs in a thread of its own; `post` and `post_picture` may be called from any thread.

GET /            the page; ?token=... is taken over into a cookie
GET /page/FILE   its parts
GET /live        web socket. To the page: pictures (`hub.pack_picture`) and JSON objects with `kind`. From the page:
                 {"watch": [stream ...]} and {"shown": stream}
GET /thumbnails/STYLE
POST /parameters {"node": ..., "values": {parameter: value}}
POST /styles     a form with the file `picture`
Both POSTs answer {"success": ..., "message": ...}.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from aiohttp import WSMsgType, web

from muon_ad_core.errors import StyleError, UserError
from muon_ad_core.view.access import Access
from muon_ad_core.view.hub import Hub
from muon_ad_core.view.uploads import MOST_BYTES, keep_picture, style_name

COOKIE = "muon_ad_view"
PATIENCE = 10.0  # seconds for a node to answer
HEARTBEAT = 10.0  # seconds
PAGE = Path(str(files("muon_ad_core.view") / "page"))
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Answer(NamedTuple):
    """How a node answered a request."""

    success: bool
    message: str


class Backend(Protocol):
    """What the page is about; the server calls it in its own thread, and nothing in it may block."""

    def change_parameters(self, node: str, values: Mapping[str, Any]) -> concurrent.futures.Future[Answer]:
        """Set parameters of a node; raises UserError when that is none the page may change."""

    def load_style(self, name: str, picture: Path) -> concurrent.futures.Future[Answer]:
        """Make a style of a picture and choose it."""

    def style_names(self) -> list[str]:
        """The styles that are known."""

    def thumbnail(self, style: str) -> Path | None:
        """The picture of a style, where there is one."""

    def watched_changed(self) -> None:
        """`ViewServer.watched` is another set now."""


class ViewServer:
    """Serves the page from `start` to `close`."""

    def __init__(self, backend: Backend, access: Access, upload_folder: Path) -> None:
        self._backend = backend
        self._access = access
        self._upload_folder = upload_folder
        self._hub = Hub(backend.watched_changed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web", daemon=True)
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    def start(self, address: str, port: int) -> int:
        """Bind and serve; returns the port (one that is free, if `port` is 0).

        Raises:
            UserError: the address and port cannot be had.
        """
        self._thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(self._open(address, port), self._loop).result()
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise UserError(f"the page cannot be served on {address}:{port} ({reason}): choose another port") from None

    def close(self) -> None:
        """Say goodbye to the pages and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def watched(self) -> frozenset[str]:
        """The streams that open pages watch."""
        return self._hub.watched

    def is_hungry(self, stream: str) -> bool:
        """Whether a picture of the stream, made now, would be sent to anybody."""
        return self._hub.is_hungry(stream)

    def post(self, kind: str, message: Mapping[str, Any], keep: bool = False) -> None:
        """Send a JSON message to all pages; with `keep`, also to those that open later."""
        self._loop.call_soon_threadsafe(self._hub.post, kind, message, keep)

    def post_picture(self, stream: str, picture: bytes) -> None:
        """Send a packed picture to the pages that watch its stream."""
        self._loop.call_soon_threadsafe(self._hub.post_picture, stream, picture)

    async def _open(self, address: str, port: int) -> int:
        application = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES + 100_000)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/live", self._live),
                web.get("/thumbnails/{style}", self._thumbnail),
                web.post("/parameters", self._parameters),
                web.post("/styles", self._styles),
                web.static("/page", PAGE),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"the view is closing")
        if self._runner is not None:
            await self._runner.cleanup()

    # Requests

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Nothing but the form that asks for the token goes to whom the rule does not admit."""
        if not self._access.trusts(request.host, request.headers.get("Origin", "")):
            raise web.HTTPForbidden(text="This request does not come from the live view's own page.\n")
        given = request.query.get("token", request.cookies.get(COOKIE, ""))
        if not self._access.knows(given):
            form = (PAGE / "locked.html").read_text()
            locked = web.Response(status=401, text=form, content_type="text/html", headers=HEADERS)
            locked.del_cookie(COOKIE)
            return locked
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if "token" in request.query:  # out of the address line, the history and shared links
            moved = web.Response(status=303, headers={"Location": "/"})
            moved.set_cookie(COOKIE, request.query["token"], httponly=True, samesite="Strict")
            return moved
        return web.FileResponse(PAGE / "index.html")

    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        path = self._backend.thumbnail(request.match_info["style"])
        if path is None:
            raise web.HTTPNotFound(text="There is no thumbnail of this style.\n")
        return web.FileResponse(path)

    async def _parameters(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await request.json()
            node, values = str(asked["node"]), dict(asked["values"])
        except (ValueError, KeyError, TypeError):
            return _answer(400, Answer(False, 'send JSON such as {"node": "style_transfer", "values": {"blend": 0.5}}'))
        return await _answer_of(lambda: self._backend.change_parameters(node, values))

    async def _styles(self, request: web.Request) -> web.StreamResponse:
        try:
            field = (await request.post()).get("picture")
        except ValueError:  # not a form
            field = None
        if not isinstance(field, web.FileField):
            return _answer(400, Answer(False, "send a form with a file named picture"))
        data = await asyncio.to_thread(field.file.read)
        name = style_name(field.filename, self._backend.style_names())
        try:
            path = await asyncio.to_thread(keep_picture, data, name, self._upload_folder)
        except StyleError as error:
            return _answer(400, Answer(False, str(error)))
        return await _answer_of(lambda: self._backend.load_style(name, path))

    async def _live(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, compress=False)
        await socket.prepare(request)
        page = self._hub.open()
        feeding = asyncio.create_task(page.feed(socket))
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    said = message.json()
                    if "watch" in said:
                        self._hub.watch(page, map(str, said["watch"]))
                    elif "shown" in said:
                        page.shown(str(said["shown"]))
        except (ValueError, TypeError):  # not what our page says
            await socket.close(code=1003)
        finally:
            self._sockets.discard(socket)
            feeding.cancel()
            self._hub.close(page)
        return socket


async def _answer_of(ask: Callable[[], concurrent.futures.Future[Answer]]) -> web.Response:
    """Ask a node and wait for its answer, though not for ever."""
    try:
        answer = await asyncio.wait_for(asyncio.wrap_future(ask()), PATIENCE)
    except UserError as error:
        return _answer(400, Answer(False, str(error)))
    except asyncio.TimeoutError:
        return _answer(504, Answer(False, f"the node did not answer within {PATIENCE:g} s"))
    return _answer(200 if answer.success else 409, answer)


def _answer(status: int, answer: Answer) -> web.Response:
    return web.json_response(answer._asdict(), status=status)
