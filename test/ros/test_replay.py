# SPDX-License-Identifier: Apache-2.0
"""The replay benchmark with real processes: it counts as a raw subscriber counts, and traces what is put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import Image

from muon_ad_core import cli
from muon_ad_core.bench.bag_maker import make_bag
from muon_ad_core.bench.result_file import Document, read_document
from muon_ad_core.engine.package import find_engine
from muon_ad_core.errors import EngineError

SECONDS = 2.0


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        find_engine("student")
    except EngineError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("replay") / "bag"
    make_bag("pan", path, seconds=1.0)
    return path


def replay(recording: Path, folder: Path, *options: str) -> Document:
    arguments = ["bench", "replay", str(recording), "--graph", "style", "--runs", "1", "--seconds", f"{SECONDS:g}"]
    result = folder / "result.json"
    assert cli.main([*arguments, "--warm-up", "1", "--log", str(folder / "log"), "--json", str(result), *options]) == 0
    return read_document(result)


def test_counts_are_those_of_an_independent_subscriber(probe: Any, recording: Path, tmp_path: Path) -> None:
    namespace = "replay_counted"
    results = probe.listen(f"/{namespace}/stylized/image_raw", Image)
    document = replay(recording, tmp_path, "--namespace", namespace)
    figures = document["results"]["rates"]["timeline"]["runs"][0]
    stamps = {image.header.stamp.sec * 10**9 + image.header.stamp.nanosec for image in results}
    # Frames of the warm-up, when not all processes had found each other, are in nobody's count.
    first, last = figures["stamps_ns"]
    heard = sum(first <= stamp <= last for stamp in stamps)
    # A busy machine starves this subscriber, not the monitor: what it hears is the least that was published.
    assert figures["frames_sent"] / 2 < heard <= figures["frames_received"]
    assert figures["counters"]["style_transfer"]["frames_out"] >= figures["frames_received"]
    assert figures["frames_sent"] == pytest.approx(30 * SECONDS, abs=1)
    assert figures["frames_received"] + figures["missed"] == figures["frames_sent"]
    assert sum(figures["lost"].values()) == figures["missed"]
    assert figures["ros2_benchmark"]["NUM_FRAMES_SENT"] == figures["frames_sent"]
    assert document["inputs"][0]["name"] == "bag" and document["stalls"]["policy"]
    assert document["summary"]["style_transfer_rss_mb"] > 0


def test_a_withheld_frame_is_lost_before_the_graph(recording: Path, tmp_path: Path) -> None:
    document = replay(recording, tmp_path, "--fault", "drop", "--fault-size", "2", "--rates", "10")
    lost = document["results"]["rates"]["10 Hz"]["lost"]
    assert lost.get("transport to the graph", 0) + lost.get("machine", 0) >= 2


def test_a_stopped_node_is_told_from_a_stopped_machine(recording: Path, tmp_path: Path) -> None:
    for fault, culprit in (("stop-node", "style_transfer"), ("stop-machine", "machine")):
        folder = tmp_path / fault
        folder.mkdir()
        document = replay(recording, folder, "--fault", fault, "--fault-size", "400")
        figures = document["results"]["rates"]["timeline"]
        places = [*figures["lost"], *figures["late"]]
        assert any(place.startswith(culprit) for place in places), (fault, figures["lost"], figures["late"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "name a recording"),
        (["bag", "--mode", "live"], "leave out the recording"),
        (["--mode", "live"], "needs --graph running"),
        (["bag", "--mode", "sweeping"], "needs rates"),
        (["bag", "--runs", "0"], "--runs"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "replay", *options]) == 2
    assert reason in capsys.readouterr().err
