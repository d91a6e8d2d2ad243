# SPDX-License-Identifier: Apache-2.0
"""What others do with the same frames: librealsense's global time, and the greedy pairing of ROS's Python filters."""

from __future__ import annotations

from bisect import insort
from collections import deque

FIT_READINGS = 16  # the window of 15 is trimmed before a reading is added
BLEND_MS = 1000.0
COUNTER_RANGE_MS = (1 << 32) * 1e-3


class LibrealsenseFit:
    """Host time by least squares over the last readings of the device's clock, without rejecting any.

    As global_timestamp_reader.cpp of librealsense 2.5x does: a reading is dated at the end of the query less half the
    shortest round trip so far; a new line replaces the old one gradually, over a second. Times in milliseconds of the
    device's 32-bit counter and of the host.
    """

    def __init__(self) -> None:
        self._readings: deque[list[float]] = deque(maxlen=FIT_READINGS)
        self._least_half = 1000.0
        self._base = (0.0, 0.0)
        self._line = (1.0, 0.0)  # slope and intercept, relative to the base
        self._previous = (1.0, 0.0)
        self._previous_at = 0.0
        self._asked = 0.0  # device time of the latest frame

    def observe_query(self, sent: float, device: float, received: float) -> None:
        """The device's clock, asked at host time `sent`, showed `device` in the answer of `received`."""
        half = (received - sent) / 2
        if half < self._least_half:
            for reading in self._readings:
                reading[1] += half - self._least_half
            self._least_half = half
        self._unwrap(device)
        self._readings.append([device, received - self._least_half])
        self._fit()

    def host_time(self, device: float) -> float | None:
        """Host time of a frame; None before the first reading."""
        if not self._readings:
            return None
        self._unwrap(device)
        self._asked = device
        slope, intercept = self._line
        share = (device - self._previous_at) / BLEND_MS
        if share < 1.0:
            slope = slope * share + self._previous[0] * (1.0 - share)
            intercept = intercept * share + self._previous[1] * (1.0 - share)
        return slope * (device - self._base[0]) + intercept + self._base[1]

    def _unwrap(self, device: float) -> None:
        """Move all that is known by a wrap of the counter when `device` is on its other side."""
        if not self._readings or abs(device - self._readings[-1][0]) <= COUNTER_RANGE_MS / 2:
            return
        shift = COUNTER_RANGE_MS if device < self._readings[-1][0] else -COUNTER_RANGE_MS
        for reading in self._readings:
            reading[0] -= shift
        self._base = (self._base[0] - shift, self._base[1])
        self._previous_at -= shift

    def _fit(self) -> None:
        count = len(self._readings)
        if count == 1:
            self._base = (self._readings[0][0], self._readings[0][1])
            self._line = self._previous = (1.0, 0.0)
            self._asked = self._previous_at = self._readings[0][0]
            return
        share = min(1.0, (self._asked - self._previous_at) / BLEND_MS)
        old, new = self._previous, self._line
        self._previous = (new[0] * share + old[0] * (1 - share), new[1] * share + old[1] * (1 - share))
        self._previous_at = self._asked
        xs = [reading[0] - self._base[0] for reading in self._readings]
        ys = [reading[1] - self._base[1] for reading in self._readings]
        mean_x, mean_y = sum(xs) / count, sum(ys) / count
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)
        self._line = (slope, mean_y - slope * mean_x)


class GreedyPairing:
    """Two streams paired as ApproximateTimeSynchronizer of ROS's Python message_filters does.

    A frame that comes is paired at once with the nearest waiting frame of the other stream within the slop.
    """

    def __init__(self, slop_ns: int, queue_frames: int = 10) -> None:
        self._slop_ns = slop_ns
        self._queue_frames = queue_frames
        self._queues: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        self.pairs: list[tuple[int, int]] = []
        """Frames paired so far, by their numbers."""

    def add(self, stream: int, stamp_ns: int, number: int) -> None:
        """A frame of stream 0 or 1 came."""
        queue, others = self._queues[stream], self._queues[1 - stream]
        insort(queue, (stamp_ns, number))
        if len(queue) > self._queue_frames:
            queue.pop(0)
        near = [other for other in others if abs(other[0] - stamp_ns) < self._slop_ns]
        if not near or (stamp_ns, number) not in queue:
            return
        partner = min(near, key=lambda other: abs(other[0] - stamp_ns))
        queue.remove((stamp_ns, number))
        others.remove(partner)
        self.pairs.append((number, partner[1]) if stream == 0 else (partner[1], number))
