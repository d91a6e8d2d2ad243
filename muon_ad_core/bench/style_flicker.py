# SPDX-License-Identifier: Apache-2.0
"""How steady contenders paint a moving picture: the warping error along sequences whose motion is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np

from muon_ad_core.bench.style_contenders import Contender, Pixels
from muon_ad_core.metrics.temporal import Flow, Mask, TemporalWarpingError, estimate_flow

SPEED = 0.25
"""Of the emulated camera's usual motion: a slow pan."""


@dataclass(frozen=True)
class Moving:
    """A sequence: RGB uint8 frames, and flow and validity since the frame before (None for the first)."""

    name: str
    frames: Sequence[Pixels]
    flows: Sequence[tuple[Flow, Mask] | None]


def emulated_pan(scene: str, size: tuple[int, int], count: int) -> Moving:
    """A slowly moving emulated camera with true flow; size: (width, height)."""
    from muon_ad_core.sources.scene import SceneSource

    source = SceneSource(scene, *size, speed=SPEED)
    frames, flows = [], []
    for index in range(1, count + 1):
        frame = source.frame(index, with_flow=True, with_second=False)
        assert frame.flow is not None and frame.flow_valid is not None
        frames.append(frame.color.copy())
        flows.append((frame.flow.copy(), frame.flow_valid.copy()))
    return Moving(f"emulated {scene}", frames, [None, *flows[1:]])


def recorded_clip(folder: Path, size: tuple[int, int], count: int) -> Moving:
    """The first frames of an RGB-D folder; their flow is estimated, and counts where both directions agree."""
    from muon_ad_core.sources.rgbd import RgbdFolder

    colours = (frame.color for frame in islice(RgbdFolder(folder), count))
    frames = [np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_AREA), np.uint8) for colour in colours]
    flows = [estimate_flow(before, now) for before, now in pairwise(frames)]
    return Moving(folder.name, frames, [None, *flows])


def warping_errors(contenders: Sequence[Contender], moving: Moving, styles: Sequence[str]) -> dict[str, float]:
    """Mean warping error by contender over styles."""
    found = {}
    for contender in contenders:
        values = []
        for style in styles:
            values.append(_warping_error(moving, [contender.paint(frame, style) for frame in moving.frames]))
        found[contender.name] = fmean(values)
    return found


def _warping_error(moving: Moving, frames: Sequence[Pixels]) -> float:
    metric = TemporalWarpingError()
    for frame, flow in zip(frames, moving.flows, strict=True):
        metric.add(frame, *(flow or (None, None)))
    return metric.mean if metric.mean is not None else float("nan")
