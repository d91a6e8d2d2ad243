# SPDX-License-Identifier: Apache-2.0
"""The report page stands alone, escapes what it shows, and its plots hold the data."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from muon_ad_core.bench.joint_report import Run, build_report
from muon_ad_core.bench.recording import Change, JointRecording, Status, Timing
from muon_ad_core.bench.report_page import render_page
from muon_ad_core.bench.report_plots import style_segments
from muon_ad_core.bench.svg_plot import Axis, Plot, ticks
from muon_ad_core.bench.witness import Stall, Stalls

SECOND = 1_000_000_000
BEGIN = 50 * SECOND
VOID = {"meta", "img", "br", "path", "rect", "polyline"}


class PageChecker(HTMLParser):
    """Collects addresses and text, and complains about tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "data", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def make_report(frames: int = 90) -> dict[str, object]:
    recording = JointRecording()
    for number in range(frames):
        key = (BEGIN + number * SECOND // 30, "camera")
        recording.frames[key] = key[0]
        if number != 40:
            recording.style_timings.append(Timing(key, 8.0 + number % 5, {"infer": 4.0}, False, number))
    recording.statuses = [
        Status(BEGIN, "/style_transfer", "style", deadline_ms=33.0),
        Status(
            BEGIN + 3 * SECOND,
            "/style_transfer",
            "style",
            reason="<b>not & permitted</b>",
            drops={"superseded": 1},
            deadline_ms=33.0,
        ),
    ]
    recording.changes = [
        Change(BEGIN, "/style_transfer", "style", "one"),
        Change(BEGIN + SECOND, "/style_transfer", "style", "two"),
    ]
    stalls = Stalls("OTHER", 5.0, [Stall(BEGIN + SECOND, 30.0)])
    return build_report(Run(recording, BEGIN, BEGIN + 3 * SECOND, stalls))


def check(page: str) -> PageChecker:
    checker = PageChecker()
    checker.feed(page)
    assert not checker.open
    return checker


def test_the_page_refers_to_nothing_outside() -> None:
    page = render_page(make_report(), b"\xff\xd8picture")
    checker = check(page)
    assert checker.addresses and all(address.startswith("data:") for address in checker.addresses)
    assert not re.search(r"https?://|@import|url\(|<script|<link", page)


def test_figures_and_causes_are_on_the_page() -> None:
    text = check(render_page(make_report())).text
    for expected in ("98.9 %", "style_transfer: superseded", "1 stalls of 30 ms", "two"):
        assert expected in text


def test_texts_from_outside_are_escaped() -> None:
    page = render_page(make_report())
    assert "<b>not" not in page
    assert "<b>not & permitted</b>" in check(page).text


def test_a_run_without_frames_still_gives_a_page() -> None:
    check(render_page(make_report(frames=0)))


def test_style_segments_follow_the_parameters() -> None:
    def change(at_s: float, parameter: str, value: object) -> dict[str, object]:
        return {"at_s": at_s, "node": "style_transfer", "parameter": parameter, "value": value}

    changes = [
        change(0.0, "style", "great_wave"),
        change(0.0, "style_b", ""),
        change(4.0, "style_b", "starry_night"),
        change(4.5, "blend", 0.5),
        change(6.0, "style", "starry_night"),
        change(6.01, "style_b", ""),
        change(8.0, "strength", 0.5),
    ]
    assert style_segments(changes, 10.0) == [
        (0.0, 4.0, "great wave"),
        (4.0, 6.0, "great wave → starry night"),
        (6.01, 8.0, "starry night"),
        (8.0, 10.0, "starry night, 50% strength"),
    ]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 20.0, 5, [0.0, 5.0, 10.0, 15.0, 20.0]),
        (0.0, 0.35, 4, [0.0, 0.1, 0.2, 0.3]),
        (3.0, 41.0, 4, [10.0, 20.0, 30.0, 40.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


def test_plot_coordinates_grow_right_and_up() -> None:
    plot = Plot(400.0, 200.0, Axis(0.0, 10.0, "x"), Axis(0.0, 5.0, "y"))
    assert plot.x(0.0) < plot.x(10.0) <= 400.0
    assert plot.y(0.0) > plot.y(5.0) >= 0.0
    plot.dots([1.0, 2.0], [1.0, 2.0], "c1")
    assert f"M{plot.x(1.0)} {plot.y(1.0)}h0" in plot.svg("two dots")
