# SPDX-License-Identifier: Apache-2.0
"""Node live_view: serves a web page that shows the joint task at work and changes its parameters.

It is a process of its own at low priority, and takes no picture while no page is open. Every control of the page is a
parameter or service of the node it belongs to.
"""

from __future__ import annotations

import concurrent.futures
import os
import socket
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from muon_ad_msgs.msg import ClockStatus, SchedulerStatus, WorkerStatus

from muon_ad_core.errors import EngineError
from muon_ad_core.view.access import Access, is_loopback
from muon_ad_core.view.server import Answer, ViewServer
from muon_ad_core.view.thumbnails import Thumbnails, cache_folder
from muon_ad_core.view.uploads import style_folder

from . import qos, view_messages
from .managed import ManagedNode, run_node
from .parameters import ParameterSpec
from .view_controls import CONTROLS, STYLE_NODE, RemoteControls
from .view_feed import PICTURES, PictureSettings, ViewFeed

NICENESS = 10
REPORT_PERIOD = 1.0  # seconds
WORKERS = ("camera", "style_transfer", "detector")

_REOPEN = "clean the node up first"
PARAMETERS = (
    ParameterSpec("address", "127.0.0.1", "Address to serve on; 0.0.0.0: all this machine has.", fixed=_REOPEN),
    ParameterSpec("port", 8090, "Port to serve on; 0: one that is free.", minimum=0, maximum=65_535, fixed=_REOPEN),
    ParameterSpec("token", "", "Word the page asks for; empty: one is made up unless on localhost.", fixed=_REOPEN),
    ParameterSpec("max_rate", 18.0, "Most pictures a second of each stream.", minimum=1.0, maximum=120.0),
    ParameterSpec("jpeg_quality", 75, "JPEG quality of the pictures.", minimum=1, maximum=100),
    ParameterSpec("max_width", 640, "Largest width of the pictures in pixels.", minimum=64, maximum=3840),
    ParameterSpec("upload_folder", "", "Folder for uploaded style pictures; empty: the user's own.", fixed=_REOPEN),
)


class LiveView(ManagedNode):
    """The server's backend: what the page shows and changes, over ROS."""

    def __init__(self) -> None:
        super().__init__("live_view", PARAMETERS)
        self._server: ViewServer | None = None
        self._feed: ViewFeed | None = None
        self._engine = ""  # of style_transfer
        self._thumbnails: Thumbnails | None = None
        self._style_pictures: dict[str, Path] = {}
        self._heard: dict[str, tuple[Any, float]] = {}  # newest status by topic, and when it came (monotonic)
        self._pids: dict[str, int] = {}
        self._demand = self.create_guard_condition(self._follow_demand)
        self._controls = RemoteControls(self, self._post_parameters, self._styles_changed)
        for name in WORKERS:
            self.create_subscription(WorkerStatus, f"{name}/status", partial(self._hear, name), qos.result_data())
        for topic, message_type in (("scheduler/status", SchedulerStatus), ("clock/status", ClockStatus)):
            self.create_subscription(message_type, topic, partial(self._hear, topic), qos.result_data())
        self.create_timer(REPORT_PERIOD, self._report, clock=self.steady_clock)

    # Lifecycle

    def configure(self) -> None:
        address, port = self.parameters["address"], self.parameters["port"]
        access = Access.for_address(address, self.parameters["token"])
        folder = Path(self.parameters["upload_folder"] or style_folder()).expanduser()
        server = ViewServer(self, access, folder)
        port = server.start(address, port)
        self._server = server
        host = "localhost" if is_loopback(address) else socket.gethostname() if address == "0.0.0.0" else address
        self.get_logger().info(f"open http://{host}:{port}/{f'?token={access.token}' if access.token else ''}")

    def activate(self) -> None:
        assert self._server is not None
        self._feed = ViewFeed(self, self._server, self._settings())
        self._feed.follow_demand()

    def deactivate(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def cleanup(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def destroy_node(self) -> None:
        self.cleanup()  # open pages should see the end of the connection at once
        super().destroy_node()

    def parameters_changed(self, changed: frozenset[str]) -> None:
        if self._feed is not None:
            self._feed.renew(self._settings())

    def _settings(self) -> PictureSettings:
        values = self.parameters.values
        return PictureSettings(values["max_rate"], values["jpeg_quality"], values["max_width"])

    # The server asks, in its own thread

    def change_parameters(self, node: str, values: Mapping[str, Any]) -> concurrent.futures.Future[Answer]:
        return self._controls.set(node, values)

    def load_style(self, name: str, picture: Path) -> concurrent.futures.Future[Answer]:
        self._style_pictures[name] = picture
        if self._thumbnails is not None:
            self._thumbnails.renew(name)
        return self._controls.load_style(name, picture)

    def style_names(self) -> list[str]:
        return self._controls.styles

    def thumbnail(self, style: str) -> Path | None:
        return self._thumbnails.path(style) if self._thumbnails else None

    def watched_changed(self) -> None:
        self._demand.trigger()

    # In the executor's thread

    def _follow_demand(self) -> None:
        if self._feed is not None:
            self._feed.follow_demand()
        self._paint_missing_thumbnails()

    def _hear(self, name: str, status: Any) -> None:
        if name in CONTROLS:
            if self._pids.get(name, status.pid) != status.pid:
                self._controls.forget(name)
            self._pids[name] = status.pid
        self._heard[name] = (status, time.monotonic())

    def _report(self) -> None:
        """Once a second: the state of the nodes."""
        if self._server is None:
            return
        self._controls.look()
        now = time.monotonic()
        heard = {name: (status, now - at) for name, (status, at) in self._heard.items()}
        clock, scheduler = heard.get("clock/status"), heard.get("scheduler/status")
        state = {
            "workers": {name: view_messages.worker(*heard[name]) for name in WORKERS if name in heard},
            "scheduler": view_messages.scheduler(*scheduler) if scheduler else None,
            "clock": view_messages.clock(*clock) if clock else None,
            "publishers": {stream: self.count_publishers(topic) for stream, topic in PICTURES.items()},
            "topics": {stream: self.resolve_topic_name(topic) for stream, topic in PICTURES.items()},
        }
        self._server.post("nodes", state, keep=True)

    def _post_parameters(self, node: str) -> None:
        if self._server is not None:
            message = {"node": node, "parameters": self._controls.describe(node)}
            self._server.post(f"parameters_{node}", message, keep=True)
        if node == STYLE_NODE and self._engine != self._controls.value(STYLE_NODE, "engine"):
            self._engine_changed(self._controls.value(STYLE_NODE, "engine"))

    # Styles

    def _engine_changed(self, engine: str) -> None:
        self._engine = engine
        try:
            self._thumbnails = Thumbnails(engine, cache_folder(), self._post_styles)
        except EngineError:
            self._thumbnails = None  # it is on the node's machine and not on this one; the page shows names alone
        self._styles_changed()

    def _styles_changed(self) -> None:
        self._post_styles()
        self._paint_missing_thumbnails()

    def _paint_missing_thumbnails(self) -> None:
        """Have thumbnails painted once somebody looks."""
        if self._thumbnails is not None and self._server is not None and self._server.watched:
            self._thumbnails.paint_missing(self._controls.styles, self._style_pictures)

    def _post_styles(self) -> None:
        """Called in any thread."""
        server, thumbnails = self._server, self._thumbnails
        if server is not None:
            names = list(self._controls.styles)
            painted = [name for name in names if thumbnails is not None and thumbnails.path(name)]
            origins = thumbnails.origins if thumbnails is not None else {}
            server.post("styles", {"names": names, "painted": painted, "origins": origins}, keep=True)


def main() -> None:
    os.nice(NICENESS)  # every thread that is started from here on inherits it
    cv2.setNumThreads(1)  # pictures of this size are not worth waking OpenCV's other threads
    sys.exit(run_node(LiveView))


if __name__ == "__main__":
    main()
