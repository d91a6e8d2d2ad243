# SPDX-License-Identifier: Apache-2.0
"""How steady contenders paint a moving picture: the warping error along sequences whose motion is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import cv2
import numpy as np

from muon_ad_core.bench.style_contenders import Contender, Pixels
from muon_ad_core.metrics.temporal import Flow, Mask, TemporalWarpingError, estimate_flow

if TYPE_CHECKING:
    from muon_ad_core.stylize import Stylizer

SPEED = 0.25
"""Of the emulated camera's usual motion: a slow pan."""


SMOOTHED = " smoothed"
"""After the name of a level: smoothed in time, as videos and the nodes' frames are."""


@dataclass(frozen=True)
class SequencePainter:
    """paint: frames that follow each other, and the name of a style -> the painted frames."""

    name: str
    paint: Callable[[Sequence[Pixels], str], list[Pixels]]


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


def frame_by_frame(contender: Contender) -> SequencePainter:
    """A contender that knows nothing of the frame before."""
    return SequencePainter(contender.name, lambda frames, style: [contender.paint(frame, style) for frame in frames])


def smoothed_levels(stylizer: Stylizer, contenders: Sequence[Contender], share: float) -> Iterator[SequencePainter]:
    """Levels of the engine, smoothed in time."""
    for contender in contenders:
        if not contender.level:
            continue

        def paint(frames: Sequence[Pixels], style: str, level: str = contender.level) -> list[Pixels]:
            stylizer.set_level(level)
            stylizer.set_style(style)
            stylizer.set_temporal_smoothing(share)
            painted = [stylizer.run(frame).copy() for frame in frames]
            stylizer.set_temporal_smoothing(0.0)
            return painted

        yield SequencePainter(contender.name + SMOOTHED, paint)


def warping_errors(painters: Sequence[SequencePainter], moving: Moving, styles: Sequence[str]) -> dict[str, float]:
    """Mean warping error by name over styles."""
    return {
        painter.name: fmean(_warping_error(moving, painter.paint(moving.frames, style)) for style in styles)
        for painter in painters
    }


def _warping_error(moving: Moving, frames: Sequence[Pixels]) -> float:
    metric = TemporalWarpingError()
    for frame, flow in zip(frames, moving.flows, strict=True):
        metric.add(frame, *(flow or (None, None)))
    return metric.mean if metric.mean is not None else float("nan")
