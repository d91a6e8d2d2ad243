# SPDX-License-Identifier: Apache-2.0
"""The page of result files: self-contained, light, and complete; and the paper's tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muon_ad_core import cli
from muon_ad_core.bench.benchmark import LOWER, Histogram, Measurement, Picture, Series
from muon_ad_core.bench.paper_tables import TABLES, fill
from muon_ad_core.bench.result_file import Document, make_document, write_document
from muon_ad_core.bench.result_page import MOST_BYTES, render
from muon_ad_core.bench.witness import Stall, Stalls

FACTS = {"processor": "a <processor>", "processors": 2, "python": "3.11", "muon_ad": "0.1.0"}


def make(name: str = "replay", summary: dict[str, Any] | None = None, **fields: Any) -> Document:
    figures = {"p50_ms": 4.5, "note": "a <b> & c", "power_w": None} if summary is None else summary
    return make_document(name, FACTS, Measurement({"rate": 30}, {}, figures, "", **fields))


class Balance(HTMLParser):
    """Checks that every element that is opened is closed."""

    VOID = ("meta", "img", "br", "rect", "path", "polyline")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def noisy_jpeg(seed: int) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 256, (1200, 1600, 3), np.uint8)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def test_a_page_holds_figures_plots_pictures_and_circumstances() -> None:
    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    document = make(
        inputs=[{"name": "clip.mcap", "files": 1, "bytes": 10, "sha256": "a" * 64}],
        samples={"latency_ms": Series("ms", [[1.0, 2.0, 50.0], [2.5]], LOWER), "none": Series("ms", [[]])},
        histograms={"age_ms": Histogram("ms", [0.1, 1.0, 10.0], [4, 2])},
        stalls=Stalls("FIFO 98", 5.0, [Stall(1, 7.0)]),
        pictures=[Picture("what it shows", jpeg)],
    )
    text = render([document])
    for part in ("p50 ms", "4.5", "what it shows", "clip.mcap", "a" * 64, "FIFO 98", "lower is better", "age ms"):
        assert part in text
    assert "a &lt;processor&gt;" in text and "<processor>" not in text
    assert text.count("<svg") == 6  # three plots, each for wide and for narrow screens
    balance = Balance()
    balance.feed(text)
    assert balance.open == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = render([make(samples={"x": Series("", [[1.0]])})])
    assert not re.search(r"(src|href)=[\"'](?!data:)|url\(|@import|<script", text)


def test_many_samples_and_large_pictures_stay_below_five_megabytes() -> None:
    runs = [np.random.default_rng(seed).lognormal(size=40_000).tolist() for seed in range(3)]
    pictures = [Picture(f"noise {seed}", noisy_jpeg(seed)) for seed in range(4)]
    text = render([make(samples={"latency_ms": Series("ms", runs, LOWER)}, pictures=pictures)])
    assert len(text.encode()) < MOST_BYTES
    assert all(f"noise {seed}" in text for seed in range(4))


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [-3.0, 4.0], [5.0] * 100, [1e-9, 1e9]])
def test_odd_samples_are_drawn_too(values: list[float]) -> None:
    text = render([make(samples={"x": Series("", [values])})])
    assert "nan" not in text.lower().replace("nanosec", "") and "inf" not in re.findall(r'[xy]="(\w+)"', text)


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_document(tmp_path / "a.json", make())
    write_document(tmp_path / "b.json", make("sync"))
    output = tmp_path / "new" / "page.html"
    files = [str(tmp_path / name) for name in ("a.json", "b.json")]
    assert cli.main(["report", *files, "-o", str(output)]) == 0
    text = output.read_text()
    assert "1. replay" in text and "2. sync" in text
    assert cli.main(["report", str(tmp_path / "missing.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_paper_s_column_never_fills_ours() -> None:
    for table in fill({}):
        for row in table["rows"]:
            assert row[2] and row[3] == "–" and row[4]


def test_a_measured_figure_stands_beside_the_paper_s() -> None:
    summary = {"ssim": 0.5, "image_time_s": 0.0042, "parameters": 1_400_000}
    tables = {table["title"]: table["rows"] for table in fill({"quality": make("quality", summary)})}
    assert ["Muon-AD", "SSIM", "0.845", "0.500"] in [row[:4] for row in tables["Table VIII: Style transfer"]]
    assert ["Muon-AD", "parameters (M)", "510", "1.40"] in [row[:4] for row in tables["Table XI: Quality and size"]]
    psnr = next(row for row in tables["Table XIII: Memory and fidelity"] if row[1] == "PSNR (dB)")
    assert psnr[3] == "–" and "did not measure psnr" in psnr[4]


def test_every_table_that_was_promised_is_there() -> None:
    assert {table.number for table in TABLES} >= {"II", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XII", "XIII"}


def test_tables_show_on_the_page() -> None:
    document = make("paper")
    document["results"] = {"tables": fill({})}
    assert "Table XII: Several tasks on the edge" in render([document])
