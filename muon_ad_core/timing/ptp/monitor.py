# SPDX-License-Identifier: Apache-2.0
"""Look at ptp4l, the card's clock and phc2sys, and judge what was seen."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from muon_ad_core.timing.ptp.client import Ptp4lStatus, Ptp4lUnavailable, ask_ptp4l
from muon_ad_core.timing.ptp.hardware_clock import CrossTimestamp, find_hardware_clock, read_cross_timestamp
from muon_ad_core.timing.ptp.state import ClockJudge, ClockLimits, Judgement, Observation

NO_HARDWARE_CLOCK = "none"


@dataclass(frozen=True)
class PtpSettings:
    """Where to look."""

    socket: str = ""
    """ptp4l's management socket; empty: the usual ones."""
    domain: int = 0
    transport_specific: int = 0
    hardware_clock: str = ""
    """A /dev/ptpN; empty: that of ptp4l's card if ptp4l uses it; "none": ptp4l disciplines the system clock."""


@dataclass(frozen=True)
class ClockReport:
    """What was seen, and what it means."""

    judgement: Judgement
    observation: Observation
    timestamping: str
    """Of ptp4l; empty when it does not tell."""
    hardware_clock: str
    """The card's clock that was looked at; empty for none."""
    hardware_clock_failure: str
    """Why it could not be read; empty when it could, or need not."""

    def facts(self) -> dict[str, Any]:
        """Everything by name, as in ClockStatus.msg, with the state's name, and the two about the card's clock."""
        judgement, observation, status = self.judgement, self.observation, self.observation.ptp4l
        scale = status.time_properties if status else None
        return {
            "state": judgement.state.name,
            "reason": judgement.reason,
            "state_age_ns": judgement.state_age_ns,
            "sync_age_ns": -1 if judgement.sync_age_ns is None else judgement.sync_age_ns,
            "port_state": status.port.state.name if status else "",
            "grandmaster": status.parent.grandmaster_identity if status else "",
            "master_offset_ns": status.time_status.master_offset_ns if status else 0,
            "path_delay_ns": status.current.mean_path_delay_ns if status else 0,
            "timestamping": self.timestamping,
            "system_offset_known": observation.system_offset_ns is not None,
            "system_offset_ns": observation.system_offset_ns or 0,
            "phc2sys_running": observation.phc2sys_running,
            "ptp_timescale": scale.ptp_timescale if scale else False,
            "utc_offset_s": scale.utc_offset_s if scale else 0,
            "utc_offset_valid": scale.utc_offset_valid if scale else False,
            "hardware_clock": self.hardware_clock,
            "hardware_clock_failure": self.hardware_clock_failure,
        }


class PtpMonitor:
    """Looks whenever asked; the judgement depends on the looks before."""

    def __init__(self, settings: PtpSettings, limits: ClockLimits, proc: Path = Path("/proc")) -> None:
        self.settings = settings
        self._judge = ClockJudge(limits)
        self._proc = proc

    @property
    def limits(self) -> ClockLimits:
        return self._judge.limits

    @limits.setter
    def limits(self, limits: ClockLimits) -> None:
        self._judge.limits = limits

    def look(self) -> ClockReport:
        """Ask everybody; takes up to the time-out of ptp4l's client."""
        settings = self.settings
        try:
            status = ask_ptp4l(settings.socket, settings.domain, settings.transport_specific)
        except Ptp4lUnavailable as error:
            unseen = Observation(time.monotonic_ns(), None, failure=str(error))
            return ClockReport(self._judge.judge(unseen), unseen, "", "", "")
        properties = status.properties
        timestamping = properties.timestamping if properties else ""
        device = self._hardware_clock(status)
        observation = Observation(time.monotonic_ns(), status)
        if device is not None or (
            timestamping not in ("", "SOFTWARE") and settings.hardware_clock != NO_HARDWARE_CLOCK
        ):
            running = is_running("phc2sys", self._proc)
            observation = replace(observation, needs_phc2sys=True, phc2sys_running=running)
        cross, failure = _read(device)
        if cross is not None:
            observation = replace(observation, system_minus_hardware_ns=cross.system_minus_hardware_ns)
        judgement = self._judge.judge(observation)
        return ClockReport(judgement, observation, timestamping, str(device or ""), failure)

    def _hardware_clock(self, status: Ptp4lStatus) -> Path | None:
        """The card's clock that ptp4l disciplines; where ptp4l does not tell, its card's clock, if it has one."""
        chosen = self.settings.hardware_clock
        if chosen:
            return None if chosen == NO_HARDWARE_CLOCK else Path(chosen)
        properties = status.properties
        if properties is not None and properties.timestamping == "SOFTWARE":
            return None
        return find_hardware_clock(properties.interface if properties else "", status.default.clock_identity)


def is_running(program: str, proc: Path = Path("/proc")) -> bool:
    """Whether a process of that name runs, as far as this user sees."""
    for comm in proc.glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == program:
                return True
        except OSError:  # it has ended
            continue
    return False


def _read(device: Path | None) -> tuple[CrossTimestamp | None, str]:
    if device is None:
        return None, ""
    try:
        return read_cross_timestamp(device), ""
    except OSError as error:
        return None, f"{device} cannot be read ({error.strerror})"
