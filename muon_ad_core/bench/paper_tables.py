# SPDX-License-Identifier: Apache-2.0
"""The paper's tables (arXiv 2504.08451) that a machine can measure, and where our figure of each cell comes from.

The paper's figures stand in its own column only. Ours are read from result files, or say why they are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from muon_ad_core.bench.result_file import Document

NO_BACKBONE = "needs a diffusion backbone and COCO-Stuff, absent here"
NO_TEXTURES = "needs ImageNet-Texture and a diffusion backbone, absent here"
NO_VR = "needs VirtualTexture-VR and a headset, absent here"
NO_PRUNING = "pruning of a diffusion model needs its backbone, absent here"
NO_FID = "what is pruned here is a detector, which paints nothing"
DETECTOR, PRUNED = "the detector", "the detector, pruned"
FLOPS = 2e-12  # two for each multiply-accumulate, in 10^12
RESIDENT = "resident memory, no GPU used"
LOSS = "attention of the loss"


@dataclass(frozen=True)
class Ours:
    """A figure of a result file: `summary[key] * scale`, with `digits` decimals."""

    result: str
    key: str
    digits: int = 2
    scale: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One figure of the paper and ours; a text instead of ours says why there is none."""

    row: str
    column: str
    paper: str
    ours: Ours | str


@dataclass(frozen=True)
class Table:
    """A table of the paper, flattened: one line a figure."""

    number: str
    title: str
    cells: tuple[Cell, ...]


def _missing(columns: str, rows: Mapping[str, str], reason: str) -> tuple[Cell, ...]:
    """Cells that cannot be measured, for one reason; figures of each row are separated by blanks."""
    names = columns.split(", ")
    return tuple(
        Cell(row, name, figure, reason) for row, text in rows.items() for name, figure in zip(names, text.split())
    )


QUALITY = "FID, SSIM, s an image, GPU memory (GB)"
STUDENT_SSIM = Ours("quality", "ssim", 3, note="student against its photographs")
STUDENT_TIME = Ours("quality", "image_time_s", 4, note="feed-forward student, 640x480")
STUDENT_MEMORY = Ours("replay-style", "style_transfer_rss_mb", 2, 1e-3, "resident memory, no GPU used")
STUDENT_FID = Ours("quality", "content_FID[squeeze]", 2, note="FID[squeeze] to the photographs, another scale")

TABLES = (
    Table("II", "Ablation of the training strategy", (
        *_missing(
            "FID, SSIM, training (h)",
            {"Baseline": "28.7 0.812 15.2", "+ dynamic mask": "24.1 0.828 10.5", "+ curriculum": "22.3 0.846 9.8",
             "+ gradient projection": "19.5 0.872 7.1"}, NO_BACKBONE),
        Cell("+ dynamic mask", "FLOPs saved (%)", "60", Ours("optimizers", "flops_saved_percent", 0, note=LOSS)),
        Cell("+ gradient projection", "conflicts removed (%)", "78.6", Ours("optimizers", "conflicts_removed_percent")),
    )),
    Table("IV", "Optimiser", (
        *_missing("FID, SSIM", {"AdamW": "32.7 0.812", "Muon": "27.9 0.845"}, NO_BACKBONE),
        Cell("AdamW : Muon", "s an image", "2.99", Ours("optimizers", "seconds_ratio", 2, note="to AdamW's loss")),
        Cell("AdamW : Muon", "GPU memory", "1.66", Ours("optimizers", "peak_memory_ratio", 2, note=RESIDENT)),
        Cell("Muon", "s an image", "10.1", Ours("optimizers", "seconds_512", 1, note="512x512, two processors")),
        Cell("Muon", "GPU memory (GB)", "7.3", Ours("optimizers", "peak_mb_512", 2, 1e-3, RESIDENT)),
    )),
    Table("V", "Optimiser and pruning", (
        *_missing(
            "FID, parameters, iterations to convergence",
            {"Muon + static pruning": "28.9 510M 1800", "AdamW + dynamic pruning": "30.2 510M 2700",
             "Muon-AD": "25.3 252M 1200"}, NO_PRUNING),
        Cell("AdamW : Muon-AD", "iterations", "2.25", Ours("optimizers", "iterations_ratio", note="to AdamW's loss")),
    )),
    Table("VI", "Pruning strategies", (
        *_missing("FID, parameters (M), FLOPs (T)",
                  {"40 % (first row)": "28.1 510 10.3", "40 % (second row)": "27.5 510 10.3"}, NO_PRUNING),
        Cell("0 %", "FID", "25.3", NO_FID),
        Cell("0 %", "parameters (M)", "850", Ours("detector", "parameters", 2, 1e-6, DETECTOR)),
        Cell("0 %", "FLOPs (T)", "17.2", Ours("detector", "macs", 4, FLOPS, DETECTOR)),
        Cell("40 % (third row)", "FID", "26.2", NO_FID),
        Cell("40 % (third row)", "parameters (M)", "510", Ours("detector", "pruned_parameters", 2, 1e-6, PRUNED)),
        Cell("40 % (third row)", "FLOPs (T)", "10.3", Ours("detector", "pruned_macs", 4, FLOPS, PRUNED)),
        *_missing("FID, parameters (M), FLOPs (T)", {"60 %": "27.9 340 6.9", "80 %": "34.6 170 3.4"}, NO_PRUNING),
    )),
    Table("VII", "Speed on an edge device", (
        Cell("Muon-AD", "frames/s", "24 (Orin NX)", Ours("replay-style", "peak_rate_hz", 1, note="this machine")),
        Cell("Muon-AD", "memory (GB)", "7.1 (Orin NX)", STUDENT_MEMORY),
        Cell("Muon-AD", "power (W)", "19 (Orin NX)", Ours("replay-style", "processor_power_w", 1)),
        Cell("HYDRO", "frames/s", "18 (Orin NX)", "needs its code and an Orin NX, absent here"),
    )),
    Table("VIII", "Style transfer", (
        Cell("Muon-AD", "FID", "27.9", STUDENT_FID),
        Cell("Muon-AD", "SSIM", "0.845", STUDENT_SSIM),
        Cell("Muon-AD", "s an image", "10.1", STUDENT_TIME),
        Cell("Muon-AD", "memory (GB)", "7.3", STUDENT_MEMORY),
        *_missing(QUALITY, {"AD+AdamW": "32.7 0.812 30.2 12.1"}, NO_BACKBONE),
    )),
    Table("IX", "Texture synthesis", _missing(
        QUALITY, {"AD+AdamW": "24.1 0.783 28.9 11.9", "Muon-AD": "21.3 0.802 9.8 7.1"}, NO_TEXTURES)),
    Table("X", "Object detection", (
        Cell("Muon-AD", "mAP", "39.1", Ours("detector", "ap", 1, 100.0, "the pictures given, not val2017 in full")),
        Cell("Muon-AD", "frames/s", "24", Ours("demo", "detection_rate_hz", 1, note="beside style, limited to 15 Hz")),
        Cell("Muon-AD", "memory (GB)", "7.1", Ours("replay-joint", "detector_rss_mb", 2, 1e-3, "resident memory")),
    )),
    Table("XI", "Quality and size", (
        Cell("Muon-AD", "SSIM", "0.845", STUDENT_SSIM),
        Cell("Muon-AD", "parameters (M)", "510", Ours("quality", "parameters", 2, 1e-6, "the student")),
    )),
    Table("XII", "Several tasks on the edge", (
        Cell("style", "s an image", "12.3 ± 0.5", Ours("replay-style", "latency_p50_ms", 4, 1e-3, "through ROS, p50")),
        Cell("style", "memory (GB)", "3.8", STUDENT_MEMORY),
        Cell("style", "processors (%)", "65", Ours("replay-style", "style_transfer_cpu_percent", 0, note="of one")),
        Cell("detection", "s an image", "0.08 ± 0.1", Ours("demo", "detection_latency_p50_ms", 4, 1e-3)),
        Cell("detection", "memory (GB)", "2.1", Ours("replay-joint", "detector_rss_mb", 2, 1e-3)),
        Cell("joint", "s an image", "12.4 ± 0.6", Ours("replay-joint", "latency_p50_ms", 4, 1e-3, "through ROS, p50")),
        Cell("joint", "added (s)", "0.1", Ours("joint", "added_ms_median", 4, 1e-3)),
    )),
    Table("XIII", "Memory and fidelity", (
        Cell("Muon-AD", "memory (GB)", "7.1", STUDENT_MEMORY),
        Cell("Muon-AD", "PSNR (dB)", "32.1", Ours("quality", "psnr", 1, note="student against its photographs")),
        Cell("Neural foveated", "foveation efficiency", "92%", NO_VR),
    )),
)  # fmt: skip


def fill(results: Mapping[str, Document]) -> list[dict[str, Any]]:
    """Each table with head and rows: the paper's figure, ours, and where ours is from or why it is missing."""
    head = ["", "figure", "paper", "ours", "ours is from"]
    return [
        {
            "title": f"Table {table.number}: {table.title}",
            "head": head,
            "rows": [_row(cell, results) for cell in table.cells],
        }
        for table in TABLES
    ]


def _row(cell: Cell, results: Mapping[str, Document]) -> list[str]:
    start = [cell.row, cell.column, cell.paper]
    if isinstance(cell.ours, str):
        return [*start, "–", cell.ours]
    ours = cell.ours
    if ours.result not in results:
        return [*start, "–", f"not measured: no result '{ours.result}' in the folder"]
    value = results[ours.result]["summary"].get(ours.key)
    if not isinstance(value, int | float):
        return [*start, "–", f"'{ours.result}' did not measure {ours.key.replace('_', ' ')} on this machine"]
    source = f"{ours.result}: {ours.key.replace('_', ' ')}"
    return [*start, f"{value * ours.scale:.{ours.digits}f}", f"{source} ({ours.note})" if ours.note else source]
