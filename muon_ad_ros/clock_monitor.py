# SPDX-License-Identifier: Apache-2.0
"""Node clock_monitor: says on clock/status and /diagnostics how far this machine's clock is under PTP."""

from __future__ import annotations

import socket
import sys

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from muon_ad_msgs.msg import ClockStatus

from muon_ad_core.errors import ParameterError
from muon_ad_core.timing.ptp.monitor import ClockReport, PtpMonitor, PtpSettings
from muon_ad_core.timing.ptp.state import ClockLimits, ClockState

from . import qos
from .managed import ManagedNode, run_node
from .parameters import ParameterSpec, Values

NANOSECONDS = 1_000_000_000
LIMITS = ClockLimits()
PARAMETERS = (
    ParameterSpec(
        "socket", "", "Management socket of ptp4l; empty: /var/run/ptp4lro (linuxptp 4), else /var/run/ptp4l."
    ),
    ParameterSpec("domain", 0, "domainNumber of ptp4l.", minimum=0, maximum=255),
    ParameterSpec("transport_specific", 0, "transportSpecific of ptp4l; 1 under gPTP.", minimum=0, maximum=15),
    ParameterSpec(
        "hardware_clock",
        "",
        "Clock of the network card, such as /dev/ptp0; empty: the one that ptp4l disciplines; "
        "none: ptp4l disciplines the system clock.",
    ),
    ParameterSpec("rate", 2.0, "Looks and reports per second, in Hz.", minimum=0.5, maximum=10.0),
    ParameterSpec(
        "lock_offset_us",
        LIMITS.lock_offset_ns / 1e3,
        "Largest offset from the master at which the clock becomes LOCKED, in microseconds.",
        minimum=0.01,
        maximum=1e6,
    ),
    ParameterSpec(
        "unlock_offset_us",
        LIMITS.unlock_offset_ns / 1e3,
        "Offset beyond which a LOCKED clock is so no longer, in microseconds; not below lock_offset_us.",
        minimum=0.01,
        maximum=1e6,
    ),
    ParameterSpec(
        "samples",
        LIMITS.samples,
        "Sync messages in a row that must agree before the clock becomes LOCKED, or is so no longer.",
        minimum=1,
        maximum=100,
    ),
    ParameterSpec(
        "sync_timeout",
        LIMITS.sync_timeout_ns / NANOSECONDS,
        "Seconds without a new sync message after which the master counts as silent.",
        minimum=0.1,
        maximum=60.0,
    ),
    ParameterSpec(
        "holdover",
        LIMITS.holdover_ns / NANOSECONDS,
        "Seconds after the last sync message of a locked clock at which HOLDOVER becomes FAULT.",
        minimum=0.1,
        maximum=86400.0,
    ),
    ParameterSpec("grandmaster", LIMITS.grandmaster, "Being the grandmaster, which follows nobody, counts as LOCKED."),
)
LEVELS = {
    ClockState.LOCKED: DiagnosticStatus.OK,
    ClockState.LOCKING: DiagnosticStatus.WARN,
    ClockState.HOLDOVER: DiagnosticStatus.WARN,
    ClockState.UNLOCKED: DiagnosticStatus.WARN,
    ClockState.UNAVAILABLE: DiagnosticStatus.WARN,
    ClockState.FAULT: DiagnosticStatus.ERROR,
}


class ClockMonitor(ManagedNode):
    """Looks at ptp4l, phc2sys and the card's clock while active; never changes anything."""

    def __init__(self) -> None:
        super().__init__("clock_monitor", PARAMETERS)
        self._monitor = PtpMonitor(settings_of(self.parameters.values), limits_of(self.parameters.values))
        self._last_state: ClockState | None = None
        self._status_publisher = self.create_publisher(ClockStatus, "clock/status", qos.result_data())
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", qos.result_data())
        self._start_timer()

    def configure(self) -> None:
        self.check_parameters(self.parameters.values, frozenset(self.parameters.values))

    def check_parameters(self, proposed: Values, changed: frozenset[str]) -> None:
        if proposed["unlock_offset_us"] < proposed["lock_offset_us"]:
            raise ParameterError("unlock_offset_us is below lock_offset_us: raise it first, or lower the other")
        if proposed["holdover"] < proposed["sync_timeout"]:
            raise ParameterError("holdover is below sync_timeout: raise it first, or lower the other")

    def parameters_changed(self, changed: frozenset[str]) -> None:
        self._monitor.settings = settings_of(self.parameters.values)
        self._monitor.limits = limits_of(self.parameters.values)
        if "rate" in changed:
            self._timer.destroy()
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self.create_timer(1.0 / self.parameters["rate"], self._look, clock=self.steady_clock)

    def _look(self) -> None:
        if self.state_label != "active":
            return
        report = self._monitor.look()
        status = to_message(report)
        status.header.stamp = self.get_clock().now().to_msg()
        self._status_publisher.publish(status)
        diagnostics = DiagnosticArray(status=[diagnose_clock(self.get_fully_qualified_name(), report)])
        diagnostics.header.stamp = status.header.stamp
        self._diagnostics_publisher.publish(diagnostics)
        self._tell_change(report)

    def _tell_change(self, report: ClockReport) -> None:
        judgement = report.judgement
        if judgement.state == self._last_state:
            return
        self._last_state = judgement.state
        sentence = f"{judgement.state.name}: {judgement.reason}"
        if judgement.state == ClockState.LOCKED:
            self.get_logger().info(sentence)
        else:  # in a line of its own: rclpy allows a line one severity
            self.get_logger().warning(sentence)


def settings_of(values: Values) -> PtpSettings:
    """Where the parameters say to look."""
    names = ("socket", "domain", "transport_specific", "hardware_clock")
    return PtpSettings(**{name: values[name] for name in names})


def limits_of(values: Values) -> ClockLimits:
    """What the parameters say LOCKED means."""
    return ClockLimits(
        lock_offset_ns=round(values["lock_offset_us"] * 1e3),
        unlock_offset_ns=round(values["unlock_offset_us"] * 1e3),
        samples=values["samples"],
        sync_timeout_ns=round(values["sync_timeout"] * NANOSECONDS),
        holdover_ns=round(values["holdover"] * NANOSECONDS),
        grandmaster=values["grandmaster"],
    )


def to_message(report: ClockReport) -> ClockStatus:
    """The report as a ClockStatus without a stamp."""
    fields = ClockStatus.get_fields_and_field_types()
    facts = {name: value for name, value in report.facts().items() if name in fields}
    return ClockStatus(**{**facts, "state": int(report.judgement.state)})


def diagnose_clock(node_name: str, report: ClockReport) -> DiagnosticStatus:
    """The report as a diagnostic. Keys: those of ClockStatus, and hardware_clock, hardware_clock_failure."""
    return DiagnosticStatus(
        level=LEVELS[report.judgement.state],
        name=f"{node_name.lstrip('/')}: PTP",
        message=f"{report.judgement.state.name}: {report.judgement.reason}",
        hardware_id=socket.gethostname(),
        values=[KeyValue(key=key, value=str(value)) for key, value in report.facts().items()],
    )


def main() -> None:
    sys.exit(run_node(ClockMonitor))


if __name__ == "__main__":
    main()
