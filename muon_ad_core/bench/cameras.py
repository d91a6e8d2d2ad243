# SPDX-License-Identifier: Apache-2.0
"""An emulated D415 through the real nodes: is every frame accounted for, paired, and found again after unplugging?

The camera node reads the emulated camera through librealsense; frame_sync pairs colour and depth. Both run as separate
processes over DDS; this program only listens. At the end the emulated camera is unplugged and plugged in again.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muon_ad_core.bench.benchmark import LOWER, Measurement, Series
from muon_ad_core.errors import ParameterError, UserError

NAMESPACE = "bench_cameras"
STREAMS = ("color", "depth")
RATE = 30
SETTLE = 2.0  # seconds left out after the first frames: both nodes find each other
PATIENCE = 120.0  # seconds until the nodes deliver
LEAST_PAIRS_PERCENT = 99.5
FATES = ("received", "matched", "unmatched", "overflow", "late", "duplicate", "out_of_order", "cleared", "lost")
"""Lists of SyncStatus, see there."""


@dataclass(frozen=True)
class Entry:
    """One frame, as its metadata tells."""

    number: int
    missed: int
    stamp_ns: int
    arrival_ns: int
    uncertainty_ns: int
    provenance: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad bench cameras``."""
    parser.add_argument("--seconds", type=float, default=60.0, help="time to measure (default: 60)")
    parser.add_argument("--width", type=int, default=640, help="picture width (default: 640)")
    parser.add_argument("--height", type=int, default=480, help="picture height (default: 480)")


def measure(args: argparse.Namespace) -> Measurement:
    """Run and measure. Raises ParameterError for a bad option, UserError when the nodes do not deliver."""
    if not 2.0 <= args.seconds <= 3600.0:
        raise ParameterError(f"--seconds must be between 2 and 3600, not {args.seconds:g}")
    from muon_ad_core.bench.witness import Witness
    from muon_ad_core.sources.realsense.library import load_library

    load_library()  # say at once what is missing
    with Witness() as witness:
        entries, sets, fates, recovered_s = _run(args)
    results: dict[str, Any] = {"streams": {name: judge_stream(listed) for name, listed in entries.items()}}
    results |= {"pairs": judge_pairs(entries, sets), "fates_in_frame_sync": fates, "recovered_s": recovered_s}
    summary = summarise(results)
    samples = {
        "uncertainty_ms": Series("ms", [[entry.uncertainty_ns / 1e6 for entry in entries["depth"]]], LOWER),
        "spread_ms": Series("ms", [[(max(stamps) - min(stamps)) / 1e6 for stamps in sets]], LOWER),
    }
    config = {"seconds": args.seconds, "width": args.width, "height": args.height, "rate_hz": RATE}
    return Measurement(config, results, summary, describe(summary), samples=samples, stalls=witness.stalls)


def judge_stream(entries: Sequence[Entry]) -> dict[str, Any]:
    """What became of the frames of one stream between the first number and the last one."""
    span = entries[-1].number - entries[0].number + 1
    missed = sum(entry.missed for entry in entries[1:])
    stamps = np.array([entry.stamp_ns for entry in entries])
    return {
        "frames": span,
        "published": len(entries),
        "missed": missed,
        "unaccounted": span - len(entries) - missed,
        "future_stamps": sum(entry.stamp_ns > entry.arrival_ns for entry in entries),
        "backward_stamps": int((np.diff(stamps) <= 0).sum()),
        "not_translated": sum(entry.provenance != "translated" for entry in entries),
        "interval_p50_ms": round(float(np.median(np.diff(stamps))) / 1e6, 4),
        "uncertainty_p50_ms": round(float(np.median([entry.uncertainty_ns for entry in entries])) / 1e6, 4),
    }


def judge_pairs(entries: Mapping[str, Sequence[Entry]], sets: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Sets of frames with one number, beside the numbers that both streams published."""
    numbers = {name: {entry.stamp_ns: entry.number for entry in entries[name]} for name in STREAMS}
    possible = set.intersection(*(set(by_stamp.values()) for by_stamp in numbers.values()))
    paired = [[numbers[name].get(stamp_ns) for name, stamp_ns in zip(STREAMS, stamps)] for stamps in sets]
    known = [pair for pair in paired if None not in pair]
    right = {color for color, depth in known if color == depth} & possible
    return {
        "possible": len(possible),
        "right": len(right),
        "wrong": sum(color != depth for color, depth in known),
        "percent": round(100.0 * len(right) / max(1, len(possible)), 3),
    }


def summarise(results: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that goals are about, of both streams together."""
    streams = results["streams"].values()
    totals = {
        key: sum(stream[key] for stream in streams)
        for key in ("frames", "published", "missed", "unaccounted", "future_stamps", "backward_stamps")
    }
    return {
        "frames": totals["frames"],
        "published_frames": totals["published"],
        "missed_frames": totals["missed"],
        "unaccounted_frames": totals["unaccounted"],
        "pairs_percent": results["pairs"]["percent"],
        "wrong_pairs": results["pairs"]["wrong"],
        "lost_in_transport": sum(counts["lost"] for counts in results["fates_in_frame_sync"].values()),
        "future_stamps": totals["future_stamps"],
        "backward_stamps": totals["backward_stamps"],
        "uncertainty_p50_ms": results["streams"]["depth"]["uncertainty_p50_ms"],
        "recovered_s": results["recovered_s"],
    }


def describe(summary: Mapping[str, Any]) -> str:
    """The figures beside their goals."""
    lines = [
        ("frames of both streams", f"{summary['frames']}", ""),
        ("lost before the node", f"{summary['missed_frames']}", "counted"),
        ("unaccounted for", f"{summary['unaccounted_frames']}", "0"),
        ("colour-depth pairs", f"{summary['pairs_percent']:.2f} %", f">= {LEAST_PAIRS_PERCENT:g} %"),
        ("wrong pairs", f"{summary['wrong_pairs']}", "0"),
        ("lost on the way to frame_sync", f"{summary['lost_in_transport']}", ""),
        ("stamps after the arrival", f"{summary['future_stamps']}", "0"),
        ("stamps running back", f"{summary['backward_stamps']}", "0"),
        ("uncertainty of stamps, p50", f"{summary['uncertainty_p50_ms']:.2f} ms", ""),
        ("frames after plugging in again", f"{summary['recovered_s']:.2f} s", ""),
    ]
    return "\n".join(f"{name:32} {value:>12}   {goal}".rstrip() for name, value, goal in lines)


Fates = dict[str, dict[str, int]]
"""Stream -> fate in frame_sync -> frames."""


def _run(args: argparse.Namespace) -> tuple[dict[str, list[Entry]], list[tuple[int, ...]], Fates, float]:
    """Of the measured time: entries by stream, stamps of the sets, fates in frame_sync; and seconds to recover."""
    from muon_ad_core.bench.camera_listener import CameraListener
    from muon_ad_ros.bringup import EMULATED_D415, cameras
    from muon_ad_ros.environment import child_environment
    from muon_ad_ros.starter import Starter, StartOptions

    size = {"width": str(args.width), "height": str(args.height), "rate": str(RATE)}
    log = io.StringIO()
    options = StartOptions(namespace=NAMESPACE, overrides={"camera": size})
    starter = Starter(cameras(EMULATED_D415), options, child_environment(), log)
    starter.start()
    try:
        with CameraListener(f"/{NAMESPACE}", STREAMS) as listener:
            _until(starter, lambda: len(listener.sets) > 0 and len(listener.statuses) > 0, log, "pairs")
            _spend(starter, SETTLE)
            begin = {name: len(listed) for name, listed in listener.metadata.items()}
            first_set, before = len(listener.sets), _fates(listener.statuses[-1])
            _spend(starter, args.seconds)
            entries = {name: list(map(_entry, listed[begin[name] :])) for name, listed in listener.metadata.items()}
            _spend(starter, 1.0)  # the last pairs and their account
            sets = [tuple(map(_nanoseconds, made.stamps)) for made in listener.sets[first_set:]]
            fates = _since(before, _fates(listener.statuses[-1]))
            recovered_s = _replug(starter, listener, log)
    finally:
        starter.stop()
    if any(len(listed) < 2 for listed in entries.values()):
        raise UserError(f"the camera fell silent; the nodes' last words: {_last_words(log)}")
    return entries, sets, fates, recovered_s


def _replug(starter: Any, listener: Any, log: io.StringIO) -> float:
    """Unplug the emulated camera and plug it in again; seconds until frames of both streams come."""
    _until(starter, listener.plug(False), log, "unplugging")
    _spend(starter, 2.0)
    plugged = time.monotonic()
    _until(starter, listener.plug(True), log, "plugging in")

    def all_back() -> bool:
        return all(listed[-1].session == 2 for listed in listener.metadata.values())

    _until(starter, all_back, log, "frames after plugging in again")
    return round(time.monotonic() - plugged, 3)


def _spend(starter: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        starter.step(min(left, 0.1))


def _until(starter: Any, condition: Callable[[], bool], log: io.StringIO, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        starter.step(0.02)
        if starter.exit_code or time.monotonic() > deadline:
            raise UserError(f"no {what}; the nodes' last words: {_last_words(log)}")


def _last_words(log: io.StringIO) -> str:
    lines = log.getvalue().strip().splitlines()
    return lines[-1] if lines else "none"


def _fates(status: Any) -> Fates:
    return {name: {fate: int(getattr(status, fate)[at]) for fate in FATES} for at, name in enumerate(status.streams)}


def _since(before: Fates, now: Fates) -> Fates:
    return {name: {fate: counts[fate] - before[name][fate] for fate in counts} for name, counts in now.items()}


def _entry(metadata: Any) -> Entry:
    return Entry(
        metadata.number,
        metadata.missed,
        _nanoseconds(metadata.header.stamp),
        _nanoseconds(metadata.arrival),
        metadata.uncertainty_ns,
        metadata.provenance,
    )


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
