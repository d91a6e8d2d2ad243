# SPDX-License-Identifier: Apache-2.0
"""The live view beside the running joint task: over its web socket, and in a real browser where there is one."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from muon_ad_msgs.msg import ClockStatus
from muon_ad_msgs.srv import ListStyles

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install -r requirements/view.txt")

from muon_ad_core.bench.view_page import find_chromium  # noqa: E402

NAMESPACE = "test_live_view"
STYLE_NODE = f"/{NAMESPACE}/style_transfer"
TOKEN = "the-right-word"
PATIENCE_MS = 90_000
STREAMS = ["color", "stylized", "depth", "detections", "style_timing", "detector_timing"]


def address_of(node: Any, wait_until: Any) -> str:
    """The address a view says it serves on, with its token if it has one."""
    return wait_until(lambda: re.search(r"open (http://\S+)", node.log), "the view's address in its log")[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the view keeps uploads and thumbnails."""
    path = tmp_path_factory.mktemp("view")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path / "cache"))
        yield path


@pytest.fixture(scope="module")
def nodes(start_node: Any) -> dict[str, Any]:
    """The joint task's nodes, running."""
    camera = start_node("scene_camera", {"rate": 10.0, "width": 320, "height": 240}, name="camera")
    return {"camera": camera, **{name: start_node(name) for name in ("style_transfer", "detector", "scheduler")}}


@pytest.fixture(scope="module")
def view(nodes: dict[str, Any], start_node: Any, folder: Path, wait_until: Any) -> str:
    """Address of the view beside them."""
    node = start_node("live_view", {"port": 0, "upload_folder": str(folder / "styles")})
    return address_of(node, wait_until)


def watch(view: str, streams: list[str], enough: Callable[[dict[str, list[Any]]], Any]) -> dict[str, list[Any]]:
    """Watch streams as a page does until `enough`; returns what came, by stream or kind of message."""
    seen: dict[str, list[Any]] = {}

    async def run() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{view}live") as socket:
            await socket.send_json({"watch": streams})
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    told = json.loads(message.data)
                    seen.setdefault(told["kind"], []).append(told)
                else:
                    length = int.from_bytes(message.data[:4], "big")
                    about = json.loads(message.data[4 : 4 + length])
                    jpeg = np.frombuffer(message.data[4 + length :], np.uint8)
                    seen.setdefault(about["stream"], []).append((about, cv2.imdecode(jpeg, cv2.IMREAD_COLOR)))
                    await socket.send_json({"shown": about["stream"]})
                if enough(seen):
                    return

    asyncio.run(asyncio.wait_for(run(), PATIENCE_MS / 1000))
    return seen


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def roles(seen: dict[str, list[Any]]) -> set[str]:
    """Roles of the nodes that a page knows of by now."""
    return {worker["role"] for worker in seen["nodes"][-1]["workers"].values()}


def test_everything_that_moves_reaches_a_page(view: str) -> None:
    def complete(seen: dict[str, list[Any]]) -> bool:
        streams = all(len(seen.get(stream, ())) >= 3 for stream in (*STREAMS, "nodes"))
        return streams and roles(seen) == {"source", "style", "detection"}

    seen = watch(view, STREAMS, complete)
    for stream in ("color", "stylized", "depth"):
        stamps = [about["stamp"] for about, _ in seen[stream]]
        assert stamps == sorted(set(stamps))
        about, picture = seen[stream][-1]
        assert (about["width"], about["height"]) == (320, 240)
        assert picture.shape[1] in (160, 320)
    assert np.abs(seen["color"][-1][1].astype(int) - seen["stylized"][-1][1]).mean() > 5.0
    assert 0.0 < seen["depth"][-1][0]["near"] < seen["depth"][-1][0]["far"]
    assert all(total > 0.0 for _, total, _ in seen["style_timing"][-1]["frames"])
    assert roles(seen) == {"source", "style", "detection"}


def test_pictures_are_taken_only_while_a_page_watches_them(view: str, probe: Any, wait_until: Any) -> None:
    topic = f"/{NAMESPACE}/stylized/image_raw"
    wait_until(lambda: probe.node.count_subscribers(topic) == 0, "nobody subscribing without a page")
    watch(view, ["color"], lambda seen: len(seen.get("color", ())) >= 2)
    assert probe.node.count_subscribers(topic) == 0
    watch(view, ["stylized"], lambda seen: probe.node.count_subscribers(topic) == 1)
    wait_until(lambda: probe.node.count_subscribers(topic) == 0, "nobody subscribing after the page is closed")


def test_controls_go_through_the_nodes_parameters_both_ways(view: str, probe: Any) -> None:
    known = watch(view, [], lambda seen: "parameters_style_transfer" in seen and "styles" in seen)
    blend = known["parameters_style_transfer"][-1]["parameters"]["blend"]
    assert (blend["range"], blend["value"]) == ([0.0, 1.0], 0.0)
    answer = post(f"{view}parameters", {"node": "style_transfer", "values": {"strength": 1}})
    assert answer == {"success": True, "message": ""}
    refused = post(f"{view}parameters", {"node": "style_transfer", "values": {"style": "no_such_style"}})
    assert not refused["success"]
    assert "no_such_style" in refused["message"]
    not_ours = post(f"{view}parameters", {"node": "style_transfer", "values": {"scheduling.policy": "FIFO"}})
    assert "no control 'scheduling.policy'" in not_ours["message"]
    assert probe.set_parameter(STYLE_NODE, "strength", 0.25).successful

    def told(seen: dict[str, list[Any]]) -> bool:
        return any(m["parameters"]["strength"]["value"] == 0.25 for m in seen.get("parameters_style_transfer", ()))

    watch(view, [], told)
    assert probe.set_parameter(STYLE_NODE, "strength", 1.0).successful


def test_the_clock_is_shown_once_a_monitor_tells_of_it(view: str, probe: Any) -> None:
    publisher = probe.publisher(f"/{NAMESPACE}/clock/status", ClockStatus)
    publisher.publish(ClockStatus(state=ClockStatus.LOCKED, reason="offset small", port_state="SLAVE"))
    seen = watch(view, [], lambda seen: any(message["clock"] for message in seen.get("nodes", ())))
    assert seen["nodes"][-1]["clock"]["state"] == "locked"


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium is installed: sudo apt-get install -y chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: requirements/test.txt")
    with sync_api.sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield instance
        instance.close()


@pytest.fixture(scope="module")
def page(browser: Any, view: str) -> Iterator[Any]:
    """The view's page, all four pictures in sight; what it logs as an error fails the test that asks for it."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(PATIENCE_MS)
    opened.errors = []
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.goto(view)
    yield opened
    opened.close()


def shown(page: Any, pane: str) -> str:
    """What a pane's canvas holds."""
    return page.evaluate(f"document.querySelector('[data-pane={pane}] canvas').toDataURL()")


@pytest.mark.parametrize("pane", ["color", "stylized", "detections", "depth"])
def test_pictures_move_in_the_browser(page: Any, wait_until: Any, pane: str) -> None:
    page.wait_for_selector(f"[data-pane={pane}]:not(.stale)")
    first = shown(page, pane)
    wait_until(lambda: shown(page, pane) != first, f"another picture in the pane {pane}")
    assert page.errors == []


def test_a_slider_changes_the_parameter(page: Any, probe: Any, wait_until: Any) -> None:
    page.get_by_label("Strength").fill("0.4")
    wait_until(lambda: probe.get_parameter(STYLE_NODE, "strength") == 0.4, "the strength set by the slider")
    assert probe.set_parameter(STYLE_NODE, "strength", 0.9).successful
    wait_until(lambda: page.get_by_label("Strength").input_value() == "0.9", "the slider following the parameter")


def test_a_click_on_a_thumbnail_changes_the_style(page: Any, probe: Any, wait_until: Any) -> None:
    name = probe.call(f"{STYLE_NODE}/list_styles", ListStyles).names[3]
    page.locator(f"#styles input[value={name}]").check(force=True)
    wait_until(lambda: probe.get_parameter(STYLE_NODE, "style") == name, "the style chosen on the page")
    thumbnail = page.locator(f".tile:has(input[value={name}]) img")
    thumbnail.wait_for()
    wait_until(lambda: thumbnail.evaluate("image => image.naturalWidth") > 100, "the thumbnail painted by the engine")


def test_an_upload_makes_a_style(page: Any, probe: Any, wait_until: Any, tmp_path: Path) -> None:
    path = tmp_path / "Red and blue.png"
    cv2.imwrite(str(path), np.tile(np.uint8([[[255, 0, 0]], [[0, 0, 255]]]), (64, 128, 1)))
    page.set_input_files("#picture", str(path))
    page.wait_for_selector("#styles input[value=red_and_blue]", state="attached")
    assert "red_and_blue" in probe.call(f"{STYLE_NODE}/list_styles", ListStyles).names
    wait_until(lambda: probe.get_parameter(STYLE_NODE, "style") == "red_and_blue", "the uploaded style in use")
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#picture", str(tmp_path / "text.png"))
    page.get_by_text("cannot be read as a picture").wait_for()


def test_a_phone_shows_it_without_sideways_scrolling(browser: Any, view: str) -> None:
    phone = browser.new_page(viewport={"width": 400, "height": 800})
    phone.set_default_timeout(PATIENCE_MS)
    phone.goto(view)
    phone.wait_for_selector("[data-pane=stylized]:not(.stale)")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 400
    phone.close()


def test_a_wrong_token_gets_nothing(browser: Any, view: str, start_node: Any, wait_until: Any) -> None:
    node = start_node("live_view", {"port": 0, "token": TOKEN}, name="locked_view")
    address = address_of(node, wait_until)
    assert address.endswith(f"/?token={TOKEN}")
    site = address.split("?")[0]
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    answers: list[int] = []
    page.on("response", lambda response: answers.append(response.status))
    for wrong in (site, f"{site}?token=wrong"):
        page.goto(wrong)
        assert page.locator("canvas").count() == 0
    assert set(answers) <= {401}
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button").click()
    page.get_by_text("Connected", exact=True).wait_for()
    assert TOKEN not in page.url
    assert node.stop() == 0
    page.get_by_text("Connection lost").first.wait_for()
    page.close()


def test_a_node_that_has_died_is_named_and_its_return_noticed(
    page: Any, nodes: dict[str, Any], start_node: Any, probe: Any
) -> None:
    assert nodes["detector"].stop() == 0
    page.get_by_text("detector does not answer").wait_for()
    start_node("detector", {"score_threshold": 0.61})
    page.get_by_text("detector does not answer").wait_for(state="detached")
    page.get_by_text("61 %").wait_for()
    assert page.errors == []
