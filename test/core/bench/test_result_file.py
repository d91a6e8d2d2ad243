# SPDX-License-Identifier: Apache-2.0
"""Result files: what is written is valid and comes back; what is not valid is refused with a reason."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from muon_ad_core.bench.benchmark import LOWER, Histogram, Measurement, Picture, Series
from muon_ad_core.bench.inputs import describe_input
from muon_ad_core.bench.result_file import find_problem, make_document, read_document, write_document
from muon_ad_core.bench.witness import Stall, Stalls
from muon_ad_core.errors import SourceError

FACTS = {"processor": "a processor", "processors": 2, "python": "3.11", "muon_ad": "0.1.0", "numpy": "2.0"}


def measurement(**changed: Any) -> Measurement:
    fields: dict[str, Any] = {
        "config": {"seconds": 1.0},
        "results": {"rows": [(1, 2)]},
        "summary": {"p50_ms": 4.0, "winner": "a", "power_w": None},
        "text": "",
        "samples": {"latency_ms": Series("ms", [[1.0, 2.0], [3.0]], LOWER)},
        "histograms": {"age_ms": Histogram("ms", [0.0, 1.0, 2.0], [5, 6])},
        "stalls": Stalls("FIFO 98", 5.0, [Stall(10, 7.5)]),
        "pictures": [Picture("a caption", b"\xff\xd8")],
    }
    return Measurement(**(fields | changed))


def test_a_document_comes_back_as_written(tmp_path: Path) -> None:
    document = make_document("probe", FACTS, measurement())
    write_document(tmp_path / "new" / "probe.json", document)
    assert read_document(tmp_path / "new" / "probe.json") == document
    assert document["machine"] == {"processor": "a processor", "processors": 2}
    assert document["versions"] == {"python": "3.11", "muon_ad": "0.1.0", "numpy": "2.0"}
    assert document["samples"]["latency_ms"]["runs"] == [[1.0, 2.0], [3.0]]
    assert document["stalls"]["events"] == [{"time_ns": 10, "milliseconds": 7.5}]


@pytest.mark.parametrize(
    "changed",
    [
        {"summary": {"p50_ms": [1.0]}},
        {"samples": {"latency_ms": Series("ms", [["slow"]])}},  # type: ignore[list-item]
        {"samples": {"latency_ms": Series("ms", [[math.nan]])}},
        {"histograms": {"age_ms": Histogram("ms", [0.0, 2.0, 1.0], [5, 6])}},
        {"histograms": {"age_ms": Histogram("ms", [0.0, 1.0], [5, 6])}},
        {"inputs": [{"name": "clip", "files": 1, "bytes": 3, "sha256": "short"}]},
    ],
)
def test_a_benchmark_cannot_hand_in_what_breaks_the_schema(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        make_document("probe", FACTS, measurement(**changed))


def test_a_missing_key_and_an_unknown_one_are_named() -> None:
    document = make_document("probe", FACTS, measurement())
    assert find_problem(document) == ""
    assert "summary" in find_problem({key: value for key, value in document.items() if key != "summary"})
    assert "surplus" in find_problem({**document, "surplus": 1})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no json", "not JSON"),
        ("[]", "not a result file"),
        ('{"schema": "muon-ad-benchmark", "schema_version": 1}', "schema version 1"),
        ('{"schema": "muon-ad-benchmark", "schema_version": 2}', "is damaged"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=reason):
        read_document(path)


def test_the_sum_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "clip.bin"
    path.write_bytes(b"abc")
    expected = {"name": "clip.bin", "files": 1, "bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert describe_input(path) == expected


def test_the_sum_of_a_folder_tells_contents_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    (folder / "inner").mkdir(parents=True)
    (folder / "b").write_bytes(b"1")
    (folder / "inner" / "a").write_bytes(b"23")
    before = describe_input(folder)
    assert (before["files"], before["bytes"]) == (2, 3)
    assert json.loads(json.dumps(before)) == before
    (folder / "b").rename(folder / "c")
    assert describe_input(folder)["sha256"] != before["sha256"]
    with pytest.raises(SourceError, match="cannot be read"):
        describe_input(tmp_path / "missing")
