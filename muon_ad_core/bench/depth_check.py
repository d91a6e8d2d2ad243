# SPDX-License-Identifier: Apache-2.0
"""Checks detections in space: against a clip's own depth, and against the known geometry of the emulated D415's scene.

    python -m muon_ad_core.bench.depth_check [--clip FOLDER] [--engine detector]

`measure_depth` is for benchmarks that report these figures beside others. FOLDER has the layout of 7-Scenes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.detect.depth import core_depth, place, valid_metres
from muon_ad_core.detect.detector import Detector
from muon_ad_core.detect.registration import DepthRegistration
from muon_ad_core.engine.package import EnginePackage, find_engine
from muon_ad_core.errors import SourceError, UserError
from muon_ad_core.sources.realsense.frames import DeviceFrame
from muon_ad_core.sources.realsense.streams import Mode
from muon_ad_core.sources.rgbd import RgbdFolder

SCORE_THRESHOLD, IOU_THRESHOLD = 0.2, 0.5  # distance does not depend on how sure the class is
MODE = Mode(640, 480, 30)
FILLED, OBJECT_DEPTH = 0.8, 0.05
"""A box is unoccluded where so large a share of its depths lies within this share of their median."""
VIEWS_CHECKED = 5
TILE = 80  # pixels; the emulated scene is looked at in square boxes of this size
NEAR = (1.5, 2.5)  # metres; boxes that count as "at 2 m"
ONE_SURFACE = 0.03  # a box lies on one surface where the spread of its core is within this share of its distance
PATIENCE = 60.0  # seconds


def measure_depth(clip: Path | None, engine: str = "detector_pruned") -> dict[str, Any]:
    """The figures of both checks, those of the clip only with one.

    `clip_*`: boxes of `engine`; `clip_error_*` is the distance of unoccluded ones against the median of the depth image
    in the whole box, as a share. `emulated_*`: errors in metres of positions from registered depth.

    Raises:
        SourceError: the clip is none, or pyrealsense2 or the emulated camera's scene is missing.
    """
    return {**(_clip_figures(clip, engine) if clip is not None else {}), **_emulated_figures()}


def _clip_figures(clip: Path, engine: str) -> dict[str, Any]:
    source = RgbdFolder(clip)
    if source.camera is None:
        raise SourceError(f"{clip} has no camera-intrinsics.txt: distances cannot be placed in space without it")
    detector = Detector(EnginePackage.load(find_engine(engine)), threads=1)
    matrix = source.camera.k()
    errors, boxes = [], 0
    for frame in source:
        if frame.depth is None:
            continue
        for box, _, _ in detector.run(frame.color, SCORE_THRESHOLD, IOU_THRESHOLD):
            boxes += 1
            own = _unoccluded_distance(frame.depth, box)
            placed = place(frame.depth, box, matrix)
            if own is not None and placed is not None:
                errors.append(abs(placed.position[2] / own - 1.0))
    if not errors:
        raise SourceError(f"in {clip} no unoccluded box was found: name a clip that shows what the detector knows")
    return {
        "clip_boxes": boxes,
        "clip_boxes_unoccluded": len(errors),
        "clip_error_median": float(np.median(errors)),
        "clip_error_max": float(np.max(errors)),
        "clip_within_5_percent": float(np.mean(np.array(errors) <= 0.05)),
    }


def _unoccluded_distance(depth: NDArray[np.uint16], box: NDArray[np.float32]) -> float | None:
    """Median depth of the whole box in metres; None unless one object fills most of it."""
    left, top, right, bottom = np.rint(box).astype(int)
    inside = valid_metres(depth[top:bottom, left:right])
    if not inside.size:
        return None
    median = float(np.median(inside))
    filled = np.mean(np.abs(inside - median) <= OBJECT_DEPTH * median)
    return median if filled >= FILLED else None


def _emulated_figures() -> dict[str, Any]:
    from muon_ad_core.sources.realsense.emulated import EmulatedD415

    errors: list[float] = []
    unregistered: list[float] = []
    milliseconds: list[float] = []
    port = EmulatedD415(MODE)
    try:
        matrix = port.camera.k()
        for frame in _depth_frames(port, VIEWS_CHECKED):
            registration = _registration(frame)
            began = time.thread_time()
            registered = registration.register(frame.pixels())
            milliseconds.append((time.thread_time() - began) * 1e3)
            truth = port.true_depth(port.view_of(frame.number))
            for box in _boxes_at_two_metres(truth):
                true = place(truth, box, matrix)
                assert true is not None
                for depth, found in ((registered, errors), (frame.pixels(), unregistered)):
                    placed = place(depth, box, matrix)
                    found.append(np.inf if placed is None else float(np.linalg.norm(placed.position - true.position)))
    finally:
        port.close()
    return {
        "emulated_boxes": len(errors),
        "emulated_error_median_m": float(np.median(errors)),
        "emulated_error_max_m": float(np.max(errors)),
        "emulated_error_max_unregistered_m": float(np.max(unregistered)),
        "registration_ms": float(np.median(milliseconds)),
    }


def _depth_frames(port: Any, count: int) -> Iterator[DeviceFrame]:
    """Depth frames of an emulated camera through librealsense, each of another view."""
    from muon_ad_core.sources.realsense.camera import RealSenseCamera

    camera = RealSenseCamera(port, "", ("depth", "color"), MODE, False, lambda reason: None)
    camera.start()
    seen: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    try:
        while len(seen) < count:
            if time.monotonic() > deadline:
                raise SourceError(f"the emulated camera sent no further picture within {PATIENCE:g} s")
            frame = camera.queue.take(0.2)
            if frame is not None and frame.stream == "depth" and port.view_of(frame.number) not in seen:
                seen.add(port.view_of(frame.number))
                yield frame
    finally:
        camera.stop()


def _registration(frame: DeviceFrame) -> DepthRegistration:
    """From the camera's own calibrations and extrinsics, as librealsense tells them."""
    calibrations, to_color = frame.session.calibrations, frame.session.extrinsics["color"]
    return DepthRegistration(calibrations["depth"], calibrations["color"], to_color.rotation, to_color.translation)


def _boxes_at_two_metres(truth: NDArray[np.uint16]) -> Iterator[NDArray[np.float32]]:
    """Tiles of the picture that lie on one surface about 2 m away."""
    for top in range(0, truth.shape[0] - TILE + 1, TILE // 2):
        for left in range(0, truth.shape[1] - TILE + 1, TILE // 2):
            box = np.array([left, top, left + TILE, top + TILE], np.float32)
            measured = core_depth(truth, box)
            if measured is not None and NEAR[0] <= measured[0] <= NEAR[1] and measured[1] <= ONE_SURFACE * measured[0]:
                yield box


def main() -> None:
    parser = argparse.ArgumentParser(description="Check detections in space.")
    parser.add_argument("--clip", type=Path, help="RGB-D folder in the layout of 7-Scenes")
    parser.add_argument(
        "--engine", default="detector_pruned", help="engine that finds boxes in the clip (default: detector_pruned)"
    )
    args = parser.parse_args()
    try:
        figures = measure_depth(args.clip, args.engine)
    except UserError as error:
        print(f"depth_check: {error}", file=sys.stderr)
        sys.exit(2)
    for name, value in figures.items():
        print(f"{name:36} {value:.4g}")


if __name__ == "__main__":
    main()
