# SPDX-License-Identifier: Apache-2.0
"""The figures of muon-ad bench view, from made-up spans; and the page that a program plays, on a real server."""

from __future__ import annotations

import concurrent.futures
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from muon_ad_core.bench.view import Spans, describe, summarise

pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install -r requirements/view.txt")

from muon_ad_core.bench.view_page import ProgramPage
from muon_ad_core.view.access import Access
from muon_ad_core.view.hub import pack_picture
from muon_ad_core.view.server import Answer, ViewServer

WITHOUT = Spans(
    style_ms=[[10.0] * 98 + [20.0] * 2, [10.0] * 100],
    cpu_percent=[{"style_transfer": 20.0, "live_view": 0.0}, {"style_transfer": 22.0, "live_view": 0.0}],
    fps=[{}, {}],
)
WITH_PAGE = Spans(
    style_ms=[[11.0] * 196 + [22.0] * 4],
    cpu_percent=[{"style_transfer": 23.0, "live_view": 9.0}],
    fps=[{"stylized": 20.0, "color": 19.0, "depth": 10.0}],
)


def test_the_summary_compares_spans_with_and_without_a_page() -> None:
    summary = summarise(WITHOUT, WITH_PAGE, 0.7)
    assert summary["fps_stylized"] == 20.0
    assert summary["view_cpu_percent"] == 9.0
    assert summary["cpu_added_percent"] == pytest.approx(23.0 + 9.0 - 21.0)
    assert summary["style_p99_without_page_ms"] == pytest.approx(10.1, abs=0.2)
    assert summary["style_p99_with_page_ms"] == 22.0
    assert summary["style_p99_ratio"] == pytest.approx(
        summary["style_p99_with_page_ms"] / summary["style_p99_without_page_ms"], abs=1e-3
    )
    assert json.loads(json.dumps(summary)) == summary
    assert "0.70 s" in describe(summary)
    assert "not measured" in describe({**summary, "first_picture_s": None})


class NoNodes:
    """A backend that nobody asks anything."""

    def change_parameters(self, node: str, values: Mapping[str, Any]) -> concurrent.futures.Future[Answer]:
        raise AssertionError

    def load_style(self, name: str, picture: Path) -> concurrent.futures.Future[Answer]:
        raise AssertionError

    def style_names(self) -> list[str]:
        return []

    def thumbnail(self, style: str) -> Path | None:
        return None

    def watched_changed(self) -> None:
        pass


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)


def test_the_played_page_counts_what_it_is_sent_and_stops_when_closed(tmp_path: Path) -> None:
    server = ViewServer(NoNodes(), Access(""), tmp_path)
    port = server.start("127.0.0.1", 0)
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.005):
            if server.is_hungry("color"):
                server.post_picture("color", pack_picture({"stream": "color"}, b"JPEG"))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        with ProgramPage(port, ["color"]) as page:
            for _ in range(2):
                before = page.counts["color"]
                page.open()
                wait_until(lambda before=before: page.counts["color"] > before + 5)
                page.close()
                wait_until(lambda: not server.watched)
    finally:
        stop.set()
        publisher.join()
        server.close()
