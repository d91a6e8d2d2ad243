# SPDX-License-Identifier: Apache-2.0
"""What capture sources hand out: pictures with the host time of their capture."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BUFFER = "buffer"
"""Provenance: the driver stamped the buffer; see `docs/cameras.md` for the instant it means."""
READINGS = 5
UNSTAMPED_NS = 50_000_000
"""Uncertainty of an arrival time taken for the capture."""


@dataclass(frozen=True)
class CaptureMode:
    """What is asked of a camera, which may choose otherwise."""

    width: int
    height: int
    rate: float


@dataclass(frozen=True)
class CapturedPicture:
    """A picture and when it was taken; the pixels are valid until the next one."""

    rgb: NDArray[np.uint8]
    """Height x width x 3."""
    number: int
    """By the driver, where it counts: a gap is frames that were lost. Else the pictures handed out."""
    stamp_ns: int
    """Capture in host time (Unix time), never later than `arrival_ns`."""
    arrival_ns: int
    provenance: str
    """`BUFFER`, or "arrival" when the driver does not stamp."""
    uncertainty_ns: int


class CaptureSource(Protocol):
    """An open camera."""

    name: str
    width: int
    height: int
    rate: float

    def read(self) -> CapturedPicture:
        """Wait for the next picture. Raises SourceError when the camera stops to deliver."""

    def close(self) -> None: ...


def host_time(instant_ns: int, clock: Callable[[], int]) -> tuple[int, int]:
    """Unix time of an instant that `clock` measured, both in nanoseconds, and Unix time now.

    The clocks are compared by the closest of several readings, because this thread may lose the processor between two.
    An instant in the future is a fault of the driver and counts as now.
    """
    readings = []
    for _ in range(READINGS):
        before_ns, unix_ns, after_ns = clock(), time.time_ns(), clock()
        readings.append((after_ns - before_ns, unix_ns - (before_ns + after_ns) // 2))
    now_ns = time.time_ns()
    return min(instant_ns + min(readings)[1], now_ns), now_ns
