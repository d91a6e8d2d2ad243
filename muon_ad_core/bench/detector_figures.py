# SPDX-License-Identifier: Apache-2.0
"""What the detector benchmark tells: a row for each network, the summary, tables and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.bench.benchmark import Picture
from muon_ad_core.bench.detector_contenders import OURS, PEER, PRUNED, Contender, shown_pruned, twins
from muon_ad_core.bench.detector_timing import IOU_THRESHOLD, SCORE_THRESHOLD, Times
from muon_ad_core.bench.intervals import paired_ratio_interval
from muon_ad_core.detect.detector import Detector
from muon_ad_core.detect.draw import draw_detections
from muon_ad_core.detect.foreign import AS_IMPORTED

SHEET_PICTURES, SHEET_WIDTH = 4, 360
OTHER_METHODS = ("magnitude", "random", "layerdrop")
HEAD = ("parameters (M)", "GMAC", "ms", "speed (95 %)", "AP", "AP50", "person AP50")
Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Row:
    """One network's figures. Times are medians in milliseconds; speed: how many times faster than the first one, with a
    95 % interval; average precisions are None without annotated pictures."""

    name: str
    kind: str
    method: str
    rate: float
    optimizer: str
    level: str
    precision: str
    runtime: str
    parameters: int | None
    macs: int | None
    ms: float
    decode_ms: float
    speed: float
    speed_low: float
    speed_high: float
    ap: float | None
    ap50: float | None
    person_ap50: float | None


def make_rows(
    contenders: Sequence[Contender],
    detectors: Mapping[str, Detector],
    times: Mapping[str, Times],
    precisions: Mapping[str, Figures],
) -> list[Row]:
    """A row for each contender; the first one is what speeds are relative to."""
    reference = times[contenders[0].name].whole
    rows = []
    for contender in contenders:
        level, own = contender.level, times[contender.name]
        speed = paired_ratio_interval(own.whole, reference)
        precision = precisions.get(contender.name, {})
        rows.append(
            Row(
                name=contender.name,
                kind=contender.kind,
                method=contender.method,
                rate=contender.rate,
                optimizer=contender.optimizer,
                level=level.name,
                precision=level.precision,
                runtime=detectors[contender.name].backend,
                parameters=level.parameters or None,
                macs=level.macs or None,
                ms=_median(own.whole),
                decode_ms=_median(own.decode),
                speed=speed["ratio"],
                speed_low=speed["low"],
                speed_high=speed["high"],
                ap=precision.get("ap"),
                ap50=precision.get("ap50"),
                person_ap50=precision.get("person_ap50"),
            )
        )
    return rows


def summarise(contenders: Sequence[Contender], rows: Sequence[Row]) -> tuple[dict[str, float | None], dict[str, str]]:
    """The figures that goals are about, and why those are None that are.

    ap, ap50, person_ap50: of the floating-point level; ms, decode_ms, parameters, macs: of the first level;
    *_int8: its precision. pruned_*: of the package that stands for the pruned ones, against the first level;
    pruned_ap_lead_*: the mean lead of this project's method over another at the same rate, from runs that differ in
    nothing else.
    """
    by_name = {row.name: row for row in rows}
    first = rows[0]
    float_row = next((row for row in rows if row.kind == OURS and row.precision == "float32"), None)
    shown = shown_pruned(contenders)
    pruned = by_name[shown.name] if shown else None
    summary: dict[str, float | None] = {
        "ap": float_row.ap if float_row else None,
        "ap50": float_row.ap50 if float_row else None,
        "person_ap50": float_row.person_ap50 if float_row else None,
        "ms": first.ms,
        "pruned_speedup": pruned.speed if pruned else None,
        "pruned_ap_drop": _drop(first, pruned),
        "int8_ap_drop": _drop(float_row, first),
        "decode_ms": first.decode_ms,
        "ms_float": float_row.ms if float_row else None,
        "ap_int8": first.ap,
        "ap50_int8": first.ap50,
        "person_ap50_int8": first.person_ap50,
        "parameters": first.parameters,
        "macs": first.macs,
        "pruned_ms": pruned.ms if pruned else None,
        "pruned_rate": pruned.rate if pruned else None,
        "pruned_parameters": pruned.parameters if pruned else None,
        "pruned_macs": pruned.macs if pruned else None,
    }
    for method in OTHER_METHODS:
        leads = [_drop(by_name[ours.name], by_name[other.name]) for ours, other in twins(contenders, method)]
        known = [lead for lead in leads if lead is not None]
        summary[f"pruned_ap_lead_{method}"] = float(np.mean(known)) if known else None
    for row in rows:
        if row.kind == PEER:
            summary |= {f"ms {row.name}": row.ms, f"ap {row.name}": row.ap}
    return summary, {key: _reason(key, float_row, pruned, first) for key, value in summary.items() if value is None}


def _reason(key: str, float_row: Row | None, pruned: Row | None, first: Row) -> str:
    if key.startswith("pruned") and pruned is None:
        return "no pruned package: name one with --pruned"
    if key.startswith("pruned_ap_lead"):
        return "no two packages pruned alike but for the method (--pruned FOLDER)"
    if "ap" in key and first.ap is None:
        return "no annotated pictures (--data), or none with a box of this kind"
    if float_row is None:
        return "the engine has no floating-point level"
    return "its package does not tell"


def _drop(better: Row | None, row: Row | None) -> float | None:
    if better is None or row is None or better.ap is None or row.ap is None:
        return None
    return better.ap - row.ap


def _median(runs: Sequence[Sequence[float]]) -> float:
    return float(np.median([value for run in runs for value in run]))


def plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain JSON."""
    return [asdict(row) for row in rows]


def tables(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """All networks side by side; and the pruned ones by rate and method, if there are any."""
    made = [
        {
            "title": "Networks side by side",
            "head": ["network", "runtime", "decode ms", *HEAD],
            "rows": [
                [
                    row.name,
                    f"{row.runtime} {row.precision}".removesuffix(AS_IMPORTED),
                    f"{row.decode_ms:.2f}",
                    *_cells(row),
                ]
                for row in rows
                if row.kind != PRUNED
            ],
        }
    ]
    pruned = sorted((row for row in rows if row.kind == PRUNED), key=lambda row: (row.rate, row.method, row.name))
    if pruned:
        lines = [
            [f"{100 * row.rate:.0f} %", row.method, row.optimizer or "–", row.name, *_cells(row)]
            for row in [rows[0], *pruned]
        ]
        made.append({"title": "Pruning", "head": ["rate", "method", "optimiser", "network", *HEAD], "rows": lines})
    return made


def describe(made: Sequence[Mapping[str, Any]], missing: Mapping[str, str], depth: Mapping[str, Any]) -> str:
    """The tables for a terminal, distances where they were measured, and what is missing."""
    lines: list[str] = []
    for table in made:
        cells = [table["head"], *table["rows"]]
        widths = [max(len(row[column]) for row in cells) for column in range(len(table["head"]))]
        lines += ["", f"{table['title']}:"]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    if depth:
        lines += [
            "",
            "Distances:",
            *(f"{name:36} {'-' if value is None else f'{value:.4g}'}" for name, value in depth.items()),
        ]
    by_reason: dict[str, list[str]] = {}
    for key, reason in missing.items():
        by_reason.setdefault(reason, []).append(key)
    lines += [""] + [f"not measured, {reason}: {', '.join(keys)}" for reason, keys in by_reason.items()]
    return "\n".join(lines).strip("\n")


def draw_sheet(pictures: Sequence[NDArray[np.uint8]], detectors: Sequence[tuple[str, Detector]]) -> Picture:
    """What several detectors find in some pictures, side by side: a row for each picture."""
    places = np.linspace(0, len(pictures) - 1, min(SHEET_PICTURES, len(pictures))).astype(int)
    rows = []
    for place in places:
        picture = pictures[place]
        size = (SHEET_WIDTH, max(1, round(SHEET_WIDTH * picture.shape[0] / picture.shape[1])))
        drawn = [
            draw_detections(picture, detector.run(picture, SCORE_THRESHOLD, IOU_THRESHOLD), detector.classes)
            for _, detector in detectors
        ]
        rows.append(np.hstack([cv2.resize(shown, size, interpolation=cv2.INTER_AREA) for shown in drawn]))
    jpeg = cv2.imencode(".jpg", np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    names = ", ".join(name for name, _ in detectors)
    return Picture(f"Objects with a score of at least {SCORE_THRESHOLD}, column by column: {names}", jpeg)


def _cells(row: Row) -> list[str]:
    """The row's part of a table, as HEAD names it."""
    sizes = (None if value is None else value / unit for value, unit in ((row.parameters, 1e6), (row.macs, 1e9)))
    return [
        *("–" if size is None else f"{size:.2f}" for size in sizes),
        f"{row.ms:.2f}",
        f"{row.speed:.2f} ({row.speed_low:.2f} to {row.speed_high:.2f})",
        *("–" if value is None else f"{value:.3f}" for value in (row.ap, row.ap50, row.person_ap50)),
    ]
