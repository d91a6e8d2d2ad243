# SPDX-License-Identifier: Apache-2.0
"""Frames as a RealSense device hands them out, and the queue they wait in."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muon_ad_core.sources.calibration import Calibration
from muon_ad_core.sources.realsense.library import load_library
from muon_ad_core.sources.realsense.streams import Extrinsics

HARDWARE_CLOCK = "hardware_clock"
GLOBAL_TIME = "global_time"
SYSTEM_TIME = "system_time"
COUNTER_RANGE = 1 << 32
"""The device's microsecond counter has 32 bits and wraps after 71.6 minutes."""


@dataclass(frozen=True)
class Session:
    """A device in use, from when it was found until it is gone."""

    number: int
    """1 for the first; one more whenever the device was found again."""
    name: str
    serial: str
    calibrations: dict[str, Calibration]
    """By stream."""
    extrinsics: dict[str, Extrinsics]
    """From the depth sensor (without depth: the first stream's) to each stream's."""
    depth_units: float
    """Metres of one unit in depth pictures; 0 without depth."""
    live: bool
    """False when a recording is played: host times in its frames are of the past."""


@dataclass(frozen=True)
class DeviceFrame:
    """One frame of one stream."""

    session: Session
    stream: str
    """A name of `streams.STREAMS`."""
    number: int
    """Counted by the device; a gap is frames that it lost."""
    ticks: int
    """The device's microsecond counter at the middle of the exposure, where the driver tells it, else at read-out."""
    domain: str
    """What `timestamp_ms` counts: `HARDWARE_CLOCK`, `GLOBAL_TIME` or `SYSTEM_TIME` (arrival)."""
    timestamp_ms: float
    arrival_ns: int
    """On the host's clock (Unix time)."""
    steady_ns: int
    """The same on the clock that is never stepped."""
    handle: Any
    """The frame of pyrealsense2."""

    def pixels(self) -> NDArray[Any]:
        """Height x width: uint16 depth units or uint8 infrared; height x width x 3: uint8 RGB. A view, not a copy."""
        return np.asanyarray(self.handle.get_data())


def receive(session: Session, stream: str, handle: Any) -> DeviceFrame:
    """A frame that has arrived just now, in librealsense's thread."""
    arrival_ns, steady_ns = time.time_ns(), time.monotonic_ns()
    handle.keep()
    key = load_library().frame_metadata_value.sensor_timestamp
    timestamp_ms = handle.get_timestamp()
    told = handle.supports_frame_metadata(key)
    ticks = int(handle.get_frame_metadata(key)) if told else round(timestamp_ms * 1000.0)
    return DeviceFrame(
        session,
        stream,
        handle.get_frame_number(),
        ticks % COUNTER_RANGE,
        handle.get_frame_timestamp_domain().name,
        timestamp_ms,
        arrival_ns,
        steady_ns,
        handle,
    )


class FrameQueue:
    """Frames on their way from librealsense's threads to one that publishes them; bounded, and losses are counted."""

    def __init__(self, capacity: int) -> None:
        self._frames: deque[DeviceFrame] = deque()
        self._capacity = capacity
        self._condition = threading.Condition()
        self._overrun: dict[str, int] = {}

    def put(self, frame: DeviceFrame) -> None:
        """Append a frame; the oldest is given up when there are too many."""
        with self._condition:
            self._frames.append(frame)
            if len(self._frames) > self._capacity:
                lost = self._frames.popleft()
                self._overrun[lost.stream] = self._overrun.get(lost.stream, 0) + 1
            self._condition.notify()

    def take(self, timeout: float) -> DeviceFrame | None:
        """The oldest frame; None when none came within `timeout` seconds."""
        with self._condition:
            if not self._frames:
                self._condition.wait(timeout)
            return self._frames.popleft() if self._frames else None

    def take_overrun(self) -> dict[str, int]:
        """Frames given up since the last call, by stream."""
        with self._condition:
            overrun, self._overrun = self._overrun, {}
            return overrun
