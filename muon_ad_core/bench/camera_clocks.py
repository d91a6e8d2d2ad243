# SPDX-License-Identifier: Apache-2.0
"""Simulation of a USB camera (D415) and a CSI camera: when frames are taken, what their clocks say, when they arrive.

True time is the host's clock, which PTP disciplines. Both cameras run freely at the rate of their own crystals, so
that their phase goes through all values. docs/clocks.md explains the delays and where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

COUNTER_RANGE = 1 << 32  # of the D415, in microseconds
HOST_EPOCH_NS = 1_800_000_000_000_000_000  # true time 0 on the host's clock
LONGEST_QUERY_MS = 150.0


@dataclass(frozen=True)
class CameraModel:
    """Rate, clock and transport of one camera."""

    drift_ppm: float
    """The crystal's rate error."""
    minimum_delay_ms: float
    """From the instant of the stamp to the arrival in user space, of an undelayed frame."""
    jitter_ms: float
    """Mean of the exponential delay on top, of every frame."""
    tail_share: float
    """Share of frames with a log-normal delay on top of that."""
    tail_median_ms: float = 8.0
    tail_sigma: float = 0.9


@dataclass(frozen=True)
class SimulationConfig:
    """One hour of two cameras by default."""

    seconds: float = 3600.0
    seed: int = 0
    rate_hz: float = 30.0
    drop_share: float = 0.01
    usb: CameraModel = CameraModel(80.0, 7.3, 1.0, 0.03)
    csi: CameraModel = CameraModel(-80.0, 4.0, 0.4, 0.01)
    assumed_usb_delay_ms: float = 7.0
    """What calibration says of usb.minimum_delay_ms."""
    assumed_csi_delay_ms: float = 4.0
    wander_ppm: float = 2.0
    """Amplitude of the crystals' rate by temperature, with a period of `wander_period_s`."""
    wander_period_s: float = 1200.0
    wrap_at: float = 5 / 12
    """When the USB camera's counter wraps, as a share of the whole time."""
    reset_at: float = 3 / 4
    """When the USB camera restarts, with its counter at 0."""
    reset_silence_s: float = 1.5
    stall_every_s: float = 30.0
    """Mean time between stalls of the host in which nothing is handed to user space."""
    stall_ms: tuple[float, float] = (20.0, 150.0)
    csi_stamp_jitter_ms: float = 0.03
    """Mean of the exponential delay of the interrupt that stamps a CSI frame."""
    query_ms: tuple[float, float] = (0.3, 0.4)
    """Shortest way of a query to the device's clock, and of the answer."""
    query_jitter_ms: float = 0.1
    query_tail_share: float = 0.02
    query_tail_median_ms: float = 10.0

    @property
    def period_ns(self) -> int:
        """Nominal time between frames."""
        return round(1e9 / self.rate_hz)


@dataclass(frozen=True)
class Stream:
    """Delivered frames of one camera in the order of arrival; times are host time in nanoseconds."""

    taken_ns: Integers
    arrival_ns: Integers
    stamp: Integers
    """What the driver delivers: counts of the 32-bit microsecond counter (USB), or host time (CSI)."""


@dataclass(frozen=True)
class Queries:
    """Questions to the USB camera's clock, in their order."""

    sent_ns: Integers
    ticks: Integers
    received_ns: Integers


@dataclass(frozen=True)
class Simulation:
    """What the cameras did."""

    usb: Stream
    csi: Stream
    queries: Queries
    reset_ns: int
    """Host time of the USB camera's restart."""


def simulate(config: SimulationConfig) -> Simulation:
    """The same frames for the same configuration."""
    random = np.random.default_rng(config.seed)
    stalls = _stalls(config, random)
    restart = config.reset_at * config.seconds
    counter = _Counter(config)

    usb_taken = _instants(config, config.usb.drift_ppm, 0.0)
    usb_taken = usb_taken[(usb_taken < restart) | (usb_taken >= restart + config.reset_silence_s)]
    usb_taken = _without_drops(usb_taken, config, random)
    csi_taken = _without_drops(_instants(config, config.csi.drift_ppm, random.uniform()), config, random)
    usb_arrival = _arrivals(usb_taken, config.usb, stalls, random)
    csi_arrival = _arrivals(csi_taken, config.csi, stalls, random)
    csi_stamp = csi_taken + random.exponential(config.csi_stamp_jitter_ms * 1e-3, csi_taken.size)

    return Simulation(
        usb=Stream(_host_ns(usb_taken), _host_ns(usb_arrival), counter.ticks(usb_taken)),
        csi=Stream(_host_ns(csi_taken), _host_ns(csi_arrival), _host_ns(csi_stamp)),
        queries=_queries(config, counter, random),
        reset_ns=int(_host_ns(np.array([restart]))[0]),
    )


class _Counter:
    """The USB camera's counter."""

    def __init__(self, config: SimulationConfig) -> None:
        self._config = config
        self._restart = config.reset_at * config.seconds
        wrap = np.array([config.wrap_at * config.seconds])
        self._start = COUNTER_RANGE - int(1e6 * _device_time(wrap, config, config.usb.drift_ppm)[0])

    def ticks(self, seconds: Floats) -> Integers:
        """The counter at true times."""
        device = _device_time(seconds, self._config, self._config.usb.drift_ppm)
        at_restart = _device_time(np.array([self._restart]), self._config, self._config.usb.drift_ppm)[0]
        micros = np.where(seconds < self._restart, self._start + 1e6 * device, 1e6 * (device - at_restart))
        return micros.astype(np.int64) % COUNTER_RANGE


def _device_time(seconds: Floats, config: SimulationConfig, drift_ppm: float) -> Floats:
    """A crystal's time at true times: constant drift and slow wander."""
    omega = 2 * np.pi / config.wander_period_s
    wander = config.wander_ppm * 1e-6 / omega * (1.0 - np.cos(omega * seconds))
    return seconds * (1.0 + drift_ppm * 1e-6) + wander


def _instants(config: SimulationConfig, drift_ppm: float, phase: float) -> Floats:
    """True times of exposures, which are regular in the crystal's time."""
    nominal: Floats = (np.arange(round(config.seconds * config.rate_hz), dtype=np.float64) + phase) / config.rate_hz
    seconds: Floats = nominal
    for _ in range(3):  # the inverse of _device_time; each round gains four digits
        seconds = seconds - (_device_time(seconds, config, drift_ppm) - nominal)
    return seconds


def _without_drops(taken: Floats, config: SimulationConfig, random: np.random.Generator) -> Floats:
    return taken[random.uniform(size=taken.size) >= config.drop_share]


def _stalls(config: SimulationConfig, random: np.random.Generator) -> Floats:
    """Beginning and end of the host's stalls, (n, 2) seconds."""
    begin = np.sort(random.uniform(0.0, config.seconds, random.poisson(config.seconds / config.stall_every_s)))
    return np.stack([begin, begin + random.uniform(*config.stall_ms, size=begin.size) * 1e-3], axis=1)


def _arrivals(taken: Floats, camera: CameraModel, stalls: Floats, random: np.random.Generator) -> Floats:
    """When frames reach user space: delayed, held up by stalls, and in order."""
    delay_ms = camera.minimum_delay_ms + random.exponential(camera.jitter_ms, taken.size)
    tail = camera.tail_median_ms * random.lognormal(0.0, camera.tail_sigma, taken.size)
    delay_ms += np.where(random.uniform(size=taken.size) < camera.tail_share, tail, 0.0)
    arrival = taken + 1e-3 * delay_ms
    for begin, end in stalls:
        first, last = np.searchsorted(taken, [begin - 1.0, end])
        part = arrival[first:last]
        part[(part >= begin) & (part < end)] = end
    # Frames of one queue do not overtake each other; handing one over takes 50 microseconds.
    steps = 50e-6 * np.arange(taken.size)
    return np.maximum.accumulate(arrival - steps) + steps


def _queries(config: SimulationConfig, counter: _Counter, random: np.random.Generator) -> Queries:
    """Questions as librealsense asks them: every 0.1 s until its window of 15 is full, then every second."""
    restart = config.reset_at * config.seconds + config.reset_silence_s
    starts = (0.0, restart)
    ends = (config.reset_at * config.seconds, config.seconds)
    sent = np.concatenate([np.r_[s : s + 1.5 : 0.1, s + 2.5 : e : 1.0] for s, e in zip(starts, ends)])
    sent = sent[(sent < ends[0]) | (sent >= restart)]
    legs = np.array(config.query_ms)[:, None] + random.exponential(config.query_jitter_ms, (2, sent.size))
    tail = np.minimum(config.query_tail_median_ms * random.lognormal(0.0, 1.0, sent.size), LONGEST_QUERY_MS)
    tail = np.where(random.uniform(size=sent.size) < config.query_tail_share, tail, 0.0)
    outward = random.uniform(size=sent.size) < 0.5  # which way was held up
    read = sent + 1e-3 * (legs[0] + np.where(outward, tail, 0.0))
    received = read + 1e-3 * (legs[1] + np.where(outward, 0.0, tail))
    return Queries(_host_ns(sent), counter.ticks(read), _host_ns(received))


def _host_ns(seconds: Floats) -> Integers:
    return HOST_EPOCH_NS + np.rint(seconds * 1e9).astype(np.int64)
