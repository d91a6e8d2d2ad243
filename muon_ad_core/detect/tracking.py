# SPDX-License-Identifier: Apache-2.0
"""Gives detections of one object in successive frames one id: overlap of boxes, moved on at constant velocity.

It is SORT (Bewley et al., "Simple Online and Realtime Tracking", 2016) in small: the box of a track is predicted to the
frame's stamp, and pairs of track and detection of one class are matched in the order of their overlap. The velocity of
a box's middle is smoothed; its size is taken as it was seen last. Time counts by stamps, so that a lower rate of
detection, as the scheduler may impose it, is bridged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.detect.nms import box_iou

MOST_TRACKS = 500
"""Of more, those seen longest ago are forgotten."""
VELOCITY_GAIN = 0.5
"""Share of a newly measured velocity in the smoothed one."""
NANOSECONDS = 1_000_000_000


@dataclass
class _Track:
    number: int
    name: str
    box: NDArray[np.float64]  # (4,) x1 y1 x2 y2 in pixels, as seen last
    seen_ns: int
    velocity: NDArray[np.float64]  # (2,) pixels a second, of the middle

    def predict(self, stamp_ns: int) -> NDArray[np.float64]:
        """The box at a later instant."""
        return self.box + np.tile(self.velocity * ((stamp_ns - self.seen_ns) / NANOSECONDS), 2)

    def see(self, box: NDArray[np.float64], stamp_ns: int) -> None:
        """The object was found again."""
        seconds = (stamp_ns - self.seen_ns) / NANOSECONDS
        if seconds > 0:
            measured = (box[:2] + box[2:] - self.box[:2] - self.box[2:]) / (2 * seconds)
            self.velocity = self.velocity + VELOCITY_GAIN * (measured - self.velocity)
        self.box, self.seen_ns = box, stamp_ns


class Tracker:
    """The objects seen lately; for use by one thread. An id is never given to two objects, not even after a jump."""

    def __init__(self, iou_threshold: float = 0.3, memory: float = 1.0) -> None:
        """iou_threshold: least overlap with a track's predicted box; memory: seconds for which a lost object is kept.

        Both may be changed between frames.
        """
        self.iou_threshold = iou_threshold
        self.memory = memory
        self._tracks: list[_Track] = []
        self._stamp_ns = 0
        self._given = 0

    def __len__(self) -> int:
        """Objects that are followed at present."""
        return len(self._tracks)

    @property
    def given(self) -> int:
        """How many ids were given so far; they count from 1."""
        return self._given

    def update(self, boxes: NDArray[np.floating], names: Sequence[str], stamp_ns: int) -> list[int]:
        """The id of each detection of the frame with this stamp.

        boxes (N, 4) x1 y1 x2 y2 in pixels, names (N,) of their classes. When stamps run back (a bag begins anew, a
        clock was set), all tracks are forgotten.
        """
        if stamp_ns < self._stamp_ns:
            self._tracks.clear()
        self._stamp_ns = stamp_ns
        oldest_ns = stamp_ns - round(self.memory * NANOSECONDS)
        self._tracks = [track for track in self._tracks if track.seen_ns >= oldest_ns]
        found = np.asarray(boxes, np.float64).reshape(-1, 4)
        matched = self._match(found, names, stamp_ns)
        numbers = []
        for index, (box, name) in enumerate(zip(found, names)):
            track = matched.get(index)
            if track is None:
                track = self._begin(box, name, stamp_ns)
            else:
                track.see(box, stamp_ns)
            numbers.append(track.number)
        self._tracks = sorted(self._tracks, key=lambda track: track.seen_ns)[-MOST_TRACKS:]
        return numbers

    def _begin(self, box: NDArray[np.float64], name: str, stamp_ns: int) -> _Track:
        self._given += 1
        track = _Track(self._given, name, box, stamp_ns, np.zeros(2))
        self._tracks.append(track)
        return track

    def _match(self, found: NDArray[np.float64], names: Sequence[str], stamp_ns: int) -> dict[int, _Track]:
        """Tracks by index of the detection they go on with: the pairs of one class, largest overlap first."""
        if not self._tracks or not len(found):
            return {}
        overlap = box_iou(found, np.array([track.predict(stamp_ns) for track in self._tracks]))
        overlap *= np.array(names)[:, None] == np.array([track.name for track in self._tracks])
        pairs = np.argsort(-overlap, axis=None, kind="stable")[: np.count_nonzero(overlap >= self.iou_threshold)]
        matched: dict[int, _Track] = {}
        taken: set[int] = set()
        for index, number in zip(*np.unravel_index(pairs, overlap.shape)):
            if index not in matched and number not in taken:
                matched[int(index)] = self._tracks[number]
                taken.add(number)
        return matched
