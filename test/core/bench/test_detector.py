# SPDX-License-Identifier: Apache-2.0
"""The detector benchmark: what its figures mean, and one short run with pruned packages and a peer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muon_ad_core import cli
from muon_ad_core.bench.benchmark import Measurement
from muon_ad_core.bench.detector_contenders import (
    OURS,
    PEER,
    PRUNED,
    our_contenders,
    pruned_contenders,
    shown_pruned,
    twins,
)
from muon_ad_core.bench.detector_figures import Row, describe, summarise, tables
from muon_ad_core.bench.intervals import paired_ratio_interval
from muon_ad_core.bench.paper_tables import fill
from muon_ad_core.bench.result_file import make_document, read_document
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.photographs import load_photograph

FACTS = {"processor": "P", "processors": 2, "muon_ad": "0", "python": "3"}


def copy_package(target: Path, **manifest: Any) -> Path:
    """The shipped detector with other entries in its manifest."""
    shutil.copytree(find_engine("detector"), target)
    file = target / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **manifest}))
    return target


@pytest.fixture
def pruned_folder(tmp_path: Path) -> Path:
    """A folder of packages as training writes them, which are not really pruned."""
    for method, rate in (("gradual", 0.4), ("gradual", 0.8), ("random", 0.4)):
        pruning = {"method": method, "rate": rate, "start": "detector 1", "run": {"steps": 200, "seed": 5}}
        copy_package(tmp_path / "table" / f"{method}-{rate}", pruning=pruning)
    return tmp_path / "table"


def row(name: str, kind: str, ms: float, ap: float | None, **more: Any) -> Row:
    fields: dict[str, Any] = {
        "method": "none", "rate": 0.0, "optimizer": "muon", "level": name, "precision": "int8", "runtime": "openvino",
        "parameters": 4_000_000, "macs": 10**9, "decode_ms": 0.2, "speed": 2.0 / ms, "speed_low": 1.0,
        "speed_high": 2.0, "ap50": ap, "person_ap50": ap,
    }  # fmt: skip
    return Row(name=name, kind=kind, ms=ms, ap=ap, **{**fields, **more})


def test_a_ratio_of_turns_in_common_rounds_is_not_widened_by_what_disturbs_both() -> None:
    rng = np.random.default_rng(0)
    disturbance = rng.uniform(1, 10, 20)
    a = [list(level * rng.uniform(0.99, 1.01, 30)) for level in disturbance]
    b = [list(2 * level * rng.uniform(0.99, 1.01, 30)) for level in disturbance]
    interval = paired_ratio_interval(a, b)
    assert 1.9 < interval["low"] <= interval["ratio"] <= interval["high"] < 2.1
    assert paired_ratio_interval(a, a) == {"ratio": 1.0, "low": 1.0, "high": 1.0}
    with pytest.raises(ValueError, match="in the same rounds"):
        paired_ratio_interval(a, b[1:])


def test_levels_of_an_engine_may_be_pruned_ones(tmp_path: Path) -> None:
    package = EnginePackage.load(find_engine("detector"))
    assert [contender.kind for contender in our_contenders(package)] == [OURS] * len(package.levels)
    levels = [dict(level) for level in package.manifest["levels"]]
    levels.append({**levels[0], "name": "small", "pruning": {"method": "gradual", "rate": 0.4}})
    contenders = our_contenders(EnginePackage.load(copy_package(tmp_path / "three", levels=levels)))
    assert (contenders[-1].kind, contenders[-1].method, contenders[-1].rate) == (PRUNED, "gradual", 0.4)


def test_pruned_packages_come_from_folders_and_one_stands_for_all(pruned_folder: Path, tmp_path: Path) -> None:
    contenders = pruned_contenders([str(pruned_folder), str(copy_package(tmp_path / "plain"))])
    told = {contender.name: (contender.method, contender.rate) for contender in contenders}
    assert told["gradual-0.8"] == ("gradual", 0.8) and told["random-0.4"] == ("random", 0.4)
    assert told["plain"] == ("none", 0.0)
    shown = shown_pruned(contenders)
    assert shown is not None and shown.name == "gradual-0.4"
    assert shown_pruned([]) is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="no engine package in"):
        pruned_contenders([str(tmp_path / "empty")])


def test_the_summary_compares_like_with_like(pruned_folder: Path) -> None:
    contenders = pruned_contenders([str(pruned_folder)])
    rows = [
        row("int8", OURS, 2.0, 0.30),
        row("float", OURS, 8.0, 0.31, precision="float32"),
        row("gradual-0.4", PRUNED, 1.0, 0.28, method="gradual", rate=0.4, parameters=2_000_000),
        row("gradual-0.8", PRUNED, 0.5, 0.10, method="gradual", rate=0.8),
        row("random-0.4", PRUNED, 1.0, 0.21, method="random", rate=0.4),
        row("NanoDet", PEER, 30.0, 0.24),
    ]
    summary, missing = summarise(contenders, rows)
    assert (summary["ap"], summary["ms"], summary["ap_int8"], summary["ms_float"]) == (0.31, 2.0, 0.30, 8.0)
    assert summary["int8_ap_drop"] == pytest.approx(0.01)
    assert (summary["pruned_speedup"], summary["pruned_ap_drop"]) == (2.0, pytest.approx(0.02))
    assert (summary["ms NanoDet"], summary["ap NanoDet"], summary["pruned_rate"]) == (30.0, 0.24, 0.4)
    assert summary["pruned_ap_lead_random"] == pytest.approx(0.07)
    assert set(missing) == {"pruned_ap_lead_magnitude", "pruned_ap_lead_layerdrop"}
    titles = {table["title"]: table["rows"] for table in tables(rows)}
    assert [line[0] for line in titles["Networks side by side"]] == ["int8", "float", "NanoDet"]
    assert [line[:4] for line in titles["Pruning"]] == [
        ["0 %", "none", "muon", "int8"],
        ["40 %", "gradual", "muon", "gradual-0.4"],
        ["40 %", "random", "muon", "random-0.4"],
        ["80 %", "gradual", "muon", "gradual-0.8"],
    ]


def test_methods_are_compared_only_when_nothing_else_differs(pruned_folder: Path, tmp_path: Path) -> None:
    longer = {"method": "gradual", "rate": 0.4, "start": "detector 1", "run": {"steps": 900, "seed": 5}}
    folders = [str(pruned_folder), str(copy_package(tmp_path / "longer", pruning=longer))]
    pairs = twins(pruned_contenders(folders), "random")
    assert [(ours.name, other.name) for ours, other in pairs] == [("gradual-0.4", "random-0.4")]
    assert twins(pruned_contenders(folders), "magnitude") == []


def test_what_was_not_measured_has_a_reason_and_no_figure() -> None:
    rows = [row("int8", OURS, 2.0, None)]
    summary, missing = summarise([], rows)
    absent = {key for key, value in summary.items() if value is None}
    assert {"ap", "ap50", "person_ap50", "pruned_speedup", "pruned_ap_drop", "int8_ap_drop"} <= absent == set(missing)
    told = describe(tables(rows), missing, {"clip_boxes": 12, "error_m": None})
    assert "no pruned package: name one with --pruned" in told and "no annotated pictures (--data)" in told
    assert "clip_boxes" in told


def test_a_short_run(pruned_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="average precision needs pycocotools")
    cv2.imwrite(str(tmp_path / "astronaut.png"), load_photograph("astronaut.png")[..., ::-1])
    document = {
        "images": [{"id": 1, "file_name": "astronaut.png"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [10, 0, 450, 512]},
            {"image_id": 1, "category_id": 1, "bbox": [10, 0, 0, 0]},
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    copy_package(tmp_path / "peers" / "peer")
    command = [
        "bench",
        "detector",
        "--data",
        str(tmp_path / "coco.json"),
        "--pruned",
        str(pruned_folder / "gradual-0.4"),
    ]
    command += ["--peers", str(tmp_path / "peers"), "--threads", "1", "--rounds", "2", "--frames", "2"]
    assert cli.main([*command, "--json", str(tmp_path / "result.json")]) == 0
    result = read_document(tmp_path / "result.json")
    summary = result["summary"]
    assert summary["ap50"] == summary["person_ap50"] == pytest.approx(1.0)
    assert summary["ms"] > summary["decode_ms"] > 0
    assert summary["pruned_ap_drop"] == summary["ap peer"] - summary["ap_int8"] == 0.0
    assert summary["pruned_speedup"] > 0 and "pruned_ap_drop" not in result["results"]["missing"]
    assert {len(run) for series in result["samples"].values() for run in series["runs"]} == {2}
    assert result["stalls"] is not None
    assert [network["kind"] for network in result["results"]["networks"]] == [OURS, OURS, PRUNED, PEER]
    assert result["pictures"][0]["caption"].endswith("detector int8, gradual-0.4, peer")
    assert "left out: 1 x box without area" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "student"], "is for style"),
        (["--peers", "."], "there is no peer in"),
        (["--pruned", "no_such_engine"], "no engine 'no_such_engine'"),
        (["--data", "none.json"], "cannot read annotations"),
        (["--rounds", "0"], "--rounds must be at least 1"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", "detector", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_paper_s_tables_take_the_figures() -> None:
    summary = {"ap": 0.123, "parameters": 4_186_608, "macs": 1_214_361_600, "ms": 2.0, "pruned_parameters": None}
    document = make_document("detector", FACTS, Measurement({}, {}, summary, ""))
    rows = {(line[0], line[1]): line for table in fill({"detector": document}) for line in table["rows"]}
    assert rows["Muon-AD", "mAP"][3] == "12.3"
    assert rows["0 %", "parameters (M)"][3] == "4.19"
    assert rows["40 % (third row)", "parameters (M)"][3] == "–"
