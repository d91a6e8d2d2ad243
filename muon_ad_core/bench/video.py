# SPDX-License-Identifier: Apache-2.0
"""A short video of a run: the camera's picture with detections on the left, the stylised picture on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from muon_ad_core.bench.moments import DetectionLog, FramePair
from muon_ad_core.bench.recording import FrameKey

RATE = 15.0  # frames per second
# H.264 is not in OpenCV's wheels, VP9 takes half a second a frame there: MPEG-4 Part 2 plays in VLC, mpv and ffplay.
CODEC = "mp4v"
NANOSECONDS = 1_000_000_000


def write_video(
    path: Path, pairs: Iterable[FramePair], detections: DetectionLog, caption: Callable[[FrameKey], str]
) -> int:
    """Write `pairs` (ascending stamps) in real time; `caption(key)` is written into the right half.

    A picture that is missing leaves the previous one standing. Returns the number of frames written.
    """
    writer: cv2.VideoWriter | None = None
    begin = written = 0
    shown = np.empty((0, 0, 3), np.uint8)
    for pair in pairs:
        due = round((pair.key[0] - begin) / NANOSECONDS * RATE) if writer else 0
        if due < written:
            continue
        picture = _side_by_side(detections.draw(pair), pair.stylized, caption(pair.key))
        if writer is None:
            begin, shown = pair.key[0], picture
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*CODEC), RATE, picture.shape[1::-1])
        elif picture.shape != shown.shape:
            picture = np.asarray(cv2.resize(picture, shown.shape[1::-1]), np.uint8)
        for _ in range(written, due):
            writer.write(shown)
        writer.write(picture)
        written, shown = due + 1, picture
    if writer is not None:
        writer.release()
    return written


def _side_by_side(left: NDArray[np.uint8], right: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """Both RGB pictures as one BGR picture with a caption in the lower right."""
    joined = np.ascontiguousarray(np.hstack([left, right])[..., ::-1])
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, 0.55 * right.shape[0] / 480)
    (width, height), below = cv2.getTextSize(caption, font, scale, 1)
    x, y = joined.shape[1] - width - 10, joined.shape[0] - below - 8
    cv2.rectangle(joined, (x - 6, y - height - 6), (x + width + 6, y + below + 4), (0, 0, 0), cv2.FILLED)
    cv2.putText(joined, caption, (x, y), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return joined
