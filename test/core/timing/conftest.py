# SPDX-License-Identifier: Apache-2.0
"""A simulated device for the tests of the estimators and of DeviceClock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

EPOCH_NS = 1_800_000_000_000_000_000
MINIMUM_NS = 5_000_000  # the least delay; the tests say it to the estimators
RATE_HZ = 30
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Frame:
    """Host times, and the device's time, in nanoseconds."""

    taken_ns: int
    device_ns: int
    arrival_ns: int
    sent_ns: int
    received_ns: int
    """Of a query that reads `device_ns`."""

    @property
    def ticks(self) -> int:
        return self.device_ns // 1000 % (1 << 32)


@pytest.fixture
def frames() -> Callable[..., Iterator[Frame]]:
    """See `simulate_frames`."""
    return simulate_frames


def simulate_frames(seconds: float, drift: float = 0.0, start_device_ns: int = 0, seed: int = 0) -> Iterator[Frame]:
    """Frames of a device whose clock runs `drift` fast, with exponential delays and some long ones."""
    random = np.random.default_rng(seed)
    arrival_ns = 0
    for index in range(round(seconds * RATE_HZ)):
        taken_ns = EPOCH_NS + index * SECOND // RATE_HZ
        device_ns = start_device_ns + round((taken_ns - EPOCH_NS) * (1.0 + drift))
        delay_ns = MINIMUM_NS + random.exponential(500_000) + (random.uniform() < 0.05) * random.exponential(20_000_000)
        arrival_ns = max(arrival_ns + 1000, taken_ns + round(delay_ns))
        legs = 300_000 + random.exponential(200_000, 2)
        yield Frame(taken_ns, device_ns, arrival_ns, taken_ns - round(legs[0]), taken_ns + round(legs[1]))
