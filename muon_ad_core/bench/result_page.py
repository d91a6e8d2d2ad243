# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page of any result files, for readers who have not seen the project."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from muon_ad_core.bench import result_plots
from muon_ad_core.bench.joint_report import percentile
from muon_ad_core.bench.page_parts import page, plot, table
from muon_ad_core.bench.result_file import Document
from muon_ad_core.errors import ParameterError

MOST_BYTES = 5_000_000
MOST_TILES = 6
PICTURE_WIDTHS = (1024, 640, 400, 240)  # tried one after the other until the page is light enough
BETTER = {"lower": "lower is better", "higher": "higher is better", "neither": ""}
ABOUT = {
    "demo": "The joint task on moving pictures: style transfer with object detection beside it.",
    "replay": "A recording played through the running graph of ROS 2 processes: how late results are, what is lost and "
    "where, and what it costs.",
    "sync": "Simulated cameras with drifting clocks: how many frame pairs are lost by where stamps come from.",
    "cameras": "An emulated depth camera through the real driver path and nodes.",
    "joint": "Style transfer and detection on one machine, and each alone.",
    "view": "The live page in a browser: how fast pictures come, and what serving them costs.",
    "quality": "Photographs that ship with scikit-image, redrawn in every style: how like the photograph the result "
    "still is, how much fine detail it has beside it, and how long one image takes.",
    "detector": "Object detectors side by side: time from a picture to its boxes in one interleaved run, and average "
    "precision on annotated pictures.",
    "eval detector": "Average precision of an object detector on annotated pictures.",
    "paper": "The tables of the paper with what was measured here beside its figures.",
    "eval images": "Quality of pictures against their references.",
    "eval video": "Steadiness of a stylised sequence.",
}


def render(documents: Sequence[Document]) -> str:
    """The page; pictures are made smaller until it weighs less than 5 MB.

    Raises ParameterError when it cannot.
    """
    for width in PICTURE_WIDTHS:
        sections = [_opening(documents), *(_result(number, entry, width) for number, entry in enumerate(documents))]
        text = page("Muon-AD: measurements", sections)
        if len(text.encode()) < MOST_BYTES:
            return text
    raise ParameterError("these results make a page of more than 5 MB: report fewer of them at a time")


def _opening(documents: Sequence[Document]) -> str:
    rows = [["", "measured (UTC)", "with"]]
    for number, document in enumerate(documents, start=1):
        measured = document["created"][:16].replace("T", " ")
        rows.append([f"{number}. {document['benchmark']}", measured, _short(document["config"])])
    return (
        "<h1>Muon-AD: measurements</h1><p>Muon-AD redraws a robot's camera pictures in the style of a painting while "
        "they come, and detects objects beside it, as ROS&nbsp;2 nodes. This page shows results of its own benchmarks; "
        "each has its figures, how they are spread, the machine it ran on, and the command's settings, enough to "
        f"repeat it.</p>{table(rows)}"
    )


def _result(number: int, document: Document, picture_width: int) -> str:
    name = document["benchmark"]
    about = ABOUT.get(name, "")
    return (
        f"<h2>{number + 1}. {escape(name)}</h2><p>{escape(about)}</p>{_tiles(document['summary'])}{_summary(document)}"
        f"{_pictures(document, picture_width)}{_samples(document)}{_histograms(document)}{_tables(document)}"
        f"{_stalls(document)}{_circumstances(document)}"
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    """The first few numbers, large."""
    numbers = [(key, value) for key, value in summary.items() if _is_number(value)][:MOST_TILES]
    tiles = (
        f'<div class="tile"><b>{_number(value)}</b><span>{escape(_readable(key))}</span></div>'
        for key, value in numbers
    )
    return f'<div class="tiles">{"".join(tiles)}</div>' if numbers else ""


def _summary(document: Document) -> str:
    rows = [["figure", "value"]]
    rows += [[_readable(key), _number(value)] for key, value in document["summary"].items()]
    return f"<details><summary>All figures</summary>{table(rows, numbers=[1])}</details>" if len(rows) > 1 else ""


def _pictures(document: Document, width: int) -> str:
    figures = []
    for picture in document["pictures"]:
        data = base64.b64encode(_shrunk(base64.b64decode(picture["jpeg_base64"]), width)).decode()
        caption = escape(picture["caption"])
        figures.append(
            f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "".join(figures)


def _samples(document: Document) -> str:
    parts = []
    for name, series in document["samples"].items():
        values = sorted(value for run in series["runs"] for value in run)
        if not values:
            continue
        spread = ", ".join(
            f"{label} {percentile(values, percent):.4g}" for percent, label in ((50, "p50"), (99, "p99"))
        )
        runs = len([run for run in series["runs"] if run])
        note = f"{len(values)} samples in {runs} run{'s' if runs > 1 else ''}; {spread} {series['unit']}".strip()
        better = BETTER[series["better"]]
        parts.append(
            f"<h3>{escape(_readable(name))}</h3><p class='note'>{escape(f'{note}. {better}'.strip())}</p>"
            f"{plot(series, result_plots.samples_over_time)}{plot(series, result_plots.distribution)}"
        )
    return "".join(parts)


def _histograms(document: Document) -> str:
    """Those of which there are no samples."""
    parts = []
    for name, entry in document["histograms"].items():
        if name not in document["samples"] and sum(entry["counts"]):
            parts.append(f"<h3>{escape(_readable(name))}</h3>{plot(entry, result_plots.histogram)}")
    return "".join(parts)


def _tables(document: Document) -> str:
    """Tables that the benchmark itself made: results.tables, each a title, a head and rows of text."""
    parts = []
    for entry in document["results"].get("tables", []):
        rows = [entry["head"], *entry["rows"]]
        parts.append(f"<h3>{escape(entry['title'])}</h3>{table([[str(cell) for cell in row] for row in rows])}")
    return "".join(parts)


def _stalls(document: Document) -> str:
    stalls = document["stalls"]
    if stalls is None:
        return ""
    lengths = [event["milliseconds"] for event in stalls["events"]]
    seen = f"{len(lengths)} times, for up to {max(lengths):.0f} ms" if lengths else "never"
    return (
        f"<p class='note'>A witness process ({escape(stalls['policy'])}) that only sleeps and wakes saw the machine "
        f"stand still {seen}. While it is held up, so is everything else.</p>"
    )


def _circumstances(document: Document) -> str:
    inputs = [["input", "files", "bytes", "SHA-256"]]
    inputs += [
        [entry["name"], str(entry["files"]), str(entry["bytes"]), entry["sha256"]] for entry in document["inputs"]
    ]
    facts = [[_readable(key), str(value)] for key, value in {**document["machine"], **document["versions"]}.items()]
    config = [[key, json.dumps(value)] for key, value in document["config"].items()]
    read = table(inputs) if len(inputs) > 1 else ""
    return (
        f"<details><summary>Settings, machine, versions{' and inputs' if read else ''}</summary>{table(config)}"
        f"{table(facts)}{read}</details>"
    )


def _shrunk(jpeg: bytes, width: int) -> bytes:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[1] <= width:
        return jpeg
    size = (width, max(1, round(picture.shape[0] * width / picture.shape[1])))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _short(config: Mapping[str, Any]) -> str:
    told = (f"{key} {value}" for key, value in config.items() if isinstance(value, str | int | float) and value != "")
    return ", ".join(list(told)[:4])


def _readable(key: str) -> str:
    return key.replace("_", " ")


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int) and _is_number(value):
        return f"{value:,}"
    return f"{value:.4g}" if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
