# SPDX-License-Identifier: Apache-2.0
"""State of this machine's clock from what ptp4l and the hardware clock tell, with hysteresis and ages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from muon_ad_core.timing.ptp.client import Ptp4lStatus
from muon_ad_core.timing.ptp.management import PortState

SECOND = 1_000_000_000
TAI_MINUS_UTC_S = 37
"""Since 2017; no leap second is announced."""
TAI_TOLERANCE_NS = SECOND // 2
_FOLLOWING = (PortState.SLAVE, PortState.UNCALIBRATED)
_LEADING = (PortState.MASTER, PortState.GRAND_MASTER)


class ClockState(IntEnum):
    """As in ClockStatus.msg."""

    UNAVAILABLE = 0
    UNLOCKED = 1
    LOCKING = 2
    LOCKED = 3
    HOLDOVER = 4
    FAULT = 5


@dataclass(frozen=True)
class ClockLimits:
    """What LOCKED means."""

    lock_offset_ns: int = 100_000
    """To become LOCKED, offsets must be within this ..."""
    unlock_offset_ns: int = 1_000_000
    """... and to be no longer LOCKED beyond this ..."""
    samples: int = 5
    """... in so many sync messages in a row."""
    sync_timeout_ns: int = 4 * SECOND
    """Without a new sync message for so long, the master counts as silent."""
    holdover_ns: int = 60 * SECOND
    """So long after the last sync message of a locked clock HOLDOVER becomes FAULT."""
    grandmaster: bool = False
    """Whether being the grandmaster, which follows nobody, counts as locked."""


@dataclass(frozen=True)
class Observation:
    """What was seen at one instant."""

    steady_ns: int
    """On a clock that is never stepped."""
    ptp4l: Ptp4lStatus | None
    failure: str = ""
    """Why `ptp4l` is None."""
    needs_phc2sys: bool = False
    """Whether ptp4l disciplines a network card's clock and not the system clock."""
    phc2sys_running: bool = False
    system_minus_hardware_ns: int | None = None
    """System clock minus the card's clock as read; None when the latter cannot be read."""

    @property
    def system_offset_ns(self) -> int | None:
        """System clock (UTC) minus the card's clock, the difference of their time scales taken off."""
        if self.ptp4l is None or self.system_minus_hardware_ns is None:
            return None
        scale = self.ptp4l.time_properties
        return self.system_minus_hardware_ns + (scale.utc_offset_s * SECOND if scale.ptp_timescale else 0)


@dataclass(frozen=True)
class Judgement:
    """The state and why."""

    state: ClockState
    reason: str
    state_age_ns: int
    sync_age_ns: int | None
    """Since the last sync message; None before the first."""


class ClockJudge:
    """Judges one observation after the other.

    Presence of the grandmaster and the offset, as ptp4l tells them, prove nothing: both stay as they were when the
    master died. A sync message counts when its time of arrival has changed since the last observation.
    """

    def __init__(self, limits: ClockLimits) -> None:
        self.limits = limits
        self._state: ClockState | None = None
        self._since_ns = 0
        self._ingress_ns: int | None = None  # of the last sync message that was seen
        self._sync_at_ns: int | None = None
        self._locked_sync_ns: int | None = None  # last sync message while locked
        self._good = self._bad = 0  # sync messages in a row

    def judge(self, observation: Observation) -> Judgement:
        """The state after this observation; observations come in order of time."""
        now_ns = observation.steady_ns
        is_new = self._notice_sync(observation)
        state, reason = self._decide(observation, is_new)
        if state != ClockState.LOCKED and self._state == ClockState.LOCKED:
            self._good = 0
        if state != self._state:
            self._state, self._since_ns, self._bad = state, now_ns, 0
        if state == ClockState.LOCKED:
            self._locked_sync_ns = self._sync_at_ns
        age_ns = None if self._sync_at_ns is None else now_ns - self._sync_at_ns
        return Judgement(state, reason, now_ns - self._since_ns, age_ns)

    def _notice_sync(self, observation: Observation) -> bool:
        """Whether a sync message has come in since the last observation."""
        status = observation.ptp4l
        if status is None:
            return False
        if self._leads(status):
            self._sync_at_ns = observation.steady_ns
            return True
        ingress_ns, known_ns = status.time_status.ingress_ns, self._ingress_ns
        self._ingress_ns = ingress_ns
        if ingress_ns == 0 or ingress_ns == known_ns:
            return False
        if known_ns is None:  # the first look cannot tell a new message from an old one
            return False
        self._sync_at_ns = observation.steady_ns
        return True

    def _decide(self, observation: Observation, is_new: bool) -> tuple[ClockState, str]:
        status = observation.ptp4l
        silent = self._sync_at_ns is None or observation.steady_ns - self._sync_at_ns > self.limits.sync_timeout_ns
        if status is None:
            if self._state == ClockState.LOCKED and not silent:  # one late answer proves nothing
                return ClockState.LOCKED, f"the clock followed its master a moment ago, but {observation.failure}"
            return self._without_master(observation, ClockState.UNAVAILABLE, observation.failure)
        if fault := find_fault(observation, self._leads(status)):
            self._good = 0
            return ClockState.FAULT, fault
        port = status.port.state
        if port == PortState.FAULTY:
            why = "ptp4l's port is FAULTY: is the link up, and does the card stamp in the way ptp4l asks for?"
            return self._without_master(observation, ClockState.FAULT, why)
        if not self._leads(status):
            if port not in _FOLLOWING:
                return self._without_master(observation, ClockState.UNLOCKED, f"no master is followed ({port.name})")
            if silent:
                return self._without_master(observation, ClockState.UNLOCKED, "no sync message from the master")
            if port != PortState.SLAVE:
                self._good = 0
                return ClockState.LOCKING, "ptp4l has not settled (UNCALIBRATED; with free_running it never does)"
        if observation.needs_phc2sys and observation.system_offset_ns is None and not observation.phc2sys_running:
            self._good = 0
            return ClockState.LOCKING, "phc2sys does not run: the system clock does not follow the network card's"
        return self._compare_offset(self._largest_offset(observation), is_new)

    def _leads(self, status: Ptp4lStatus) -> bool:
        return self.limits.grandmaster and status.port.state in _LEADING

    def _largest_offset(self, observation: Observation) -> int:
        assert observation.ptp4l is not None
        master_ns = 0 if self._leads(observation.ptp4l) else observation.ptp4l.time_status.master_offset_ns
        system_ns = observation.system_offset_ns if observation.needs_phc2sys else None
        return max(abs(master_ns), abs(system_ns or 0))

    def _compare_offset(self, offset_ns: int, is_new: bool) -> tuple[ClockState, str]:
        """LOCKED or LOCKING, while sync messages come."""
        limits = self.limits
        if is_new:
            self._good = self._good + 1 if offset_ns <= limits.lock_offset_ns else 0
            self._bad = self._bad + 1 if offset_ns > limits.unlock_offset_ns else 0
        if self._state == ClockState.LOCKED:
            if self._bad < limits.samples:
                return ClockState.LOCKED, "the clock follows its master"
            return ClockState.LOCKING, f"the offset grew to {offset_ns / 1e3:.1f} µs"
        if self._good >= limits.samples:
            return ClockState.LOCKED, "the clock follows its master"
        return ClockState.LOCKING, f"offset {offset_ns / 1e3:.1f} µs; good {self._good} of {limits.samples} times"

    def _without_master(self, observation: Observation, never_locked: ClockState, why: str) -> tuple[ClockState, str]:
        """HOLDOVER or FAULT after having been locked, otherwise `never_locked`."""
        self._good = 0
        if self._locked_sync_ns is None:
            return never_locked, why
        if observation.steady_ns - self._locked_sync_ns <= self.limits.holdover_ns:
            return ClockState.HOLDOVER, why
        return ClockState.FAULT, f"for longer than a clock may coast: {why}"


def find_fault(observation: Observation, leads: bool = False) -> str:
    """What is plainly wrong, whatever happened before; empty when nothing is.

    `leads` says that the machine is the grandmaster, as it is meant to be. Before ptp4l has settled, a card's clock may
    show anything.
    """
    status = observation.ptp4l
    assert status is not None
    scale = status.time_properties
    if observation.needs_phc2sys and (leads or status.port.state == PortState.SLAVE):
        if scale.ptp_timescale and abs(scale.utc_offset_s - TAI_MINUS_UTC_S) > 1:
            return (
                f"the master says TAI - UTC is {scale.utc_offset_s} s, not {TAI_MINUS_UTC_S} s: set its utc_offset, "
                "or the system clock is wrong by the difference"
            )
        if _is_tai_difference(observation.system_offset_ns):
            return (
                f"system clock and network card's clock differ by TAI - UTC ({TAI_MINUS_UTC_S} s): "
                "run phc2sys with -w instead of a fixed -O, and check the time scale of the master"
            )
    if status.port.state in _FOLLOWING and _is_tai_difference(status.time_status.master_offset_ns):
        return f"this clock differs from the master's by TAI - UTC ({TAI_MINUS_UTC_S} s): one of them counts the other"
    return ""


def _is_tai_difference(offset_ns: int | None) -> bool:
    return offset_ns is not None and abs(abs(offset_ns) - TAI_MINUS_UTC_S * SECOND) < TAI_TOLERANCE_NS
