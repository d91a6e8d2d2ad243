# SPDX-License-Identifier: Apache-2.0
"""A video stylised into another one of the same rate and length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muon_ad_core.errors import SourceError
from muon_ad_core.offline.video_writer import has_ffmpeg, open_writer
from muon_ad_core.sources.base import NANOSECONDS
from muon_ad_core.sources.video import VideoSource
from muon_ad_core.stylize import Stylizer

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


@dataclass(frozen=True)
class VideoResult:
    """What was written: frames, frames a second, whether sound could go along, and what was wrong with the original."""

    frames: int
    rate: float
    sound: bool
    damage: str


def stylize_video(
    stylizer: Stylizer, source: Path, target: Path, report: Callable[[int], None], rate: float | None = None
) -> VideoResult:
    """Stylise a video; `report` gets the number of frames written so far.

    rate: frames a second of the result, else the original's. Frames stand on an even grid of that rate: where the
    original's times are uneven, the frame that is due is shown, so that motion and sound stay together.
    Raises SourceError when the video cannot be read or written.
    """
    if target.resolve() == source.resolve():
        raise SourceError(f"the result would replace {source}: choose another file with -o")
    video = VideoSource(source)
    rate = rate or video.rate
    writer = open_writer(target, rate, video.width, video.height, source)
    written = 0
    for frame, times in on_even_grid(((frame.color, frame.stamp_ns) for frame in video), rate):
        painted = stylizer.run(frame)
        for _ in range(times):
            writer.write(painted)
            written += 1
        report(written)
    writer.close()
    return VideoResult(written, rate, has_ffmpeg(), video.damage)


def on_even_grid(frames: Iterator[tuple[np.ndarray, int]], rate: float) -> Iterator[tuple[np.ndarray, int]]:
    """Frames with stamps in nanoseconds -> frames to show, and for how many periods of `rate` each.

    A frame is shown from the grid point nearest to its stamp to that of the next one; the last one for one period.
    """
    shown: np.ndarray | None = None
    first = begin = 0
    for frame, stamp in frames:
        if shown is None:
            first = stamp
        else:
            due = round((stamp - first) * rate / NANOSECONDS)
            if due > begin:
                yield shown, due - begin
                begin = due
        # The source uses its buffer again.
        shown = frame.copy()
    if shown is not None:
        yield shown, 1
