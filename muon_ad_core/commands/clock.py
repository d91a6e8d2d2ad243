# SPDX-License-Identifier: Apache-2.0
"""Show how far this machine's clock is under PTP: live in a terminal; once into a pipe, with --once or --json.

Asks ptp4l, phc2sys and the network card's clock, and changes nothing. Exit code: 0 when the clock is LOCKED, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from muon_ad_core.timing.ptp.client import READ_ONLY_SOCKET, SOCKET
from muon_ad_core.timing.ptp.monitor import ClockReport, PtpMonitor, PtpSettings
from muon_ad_core.timing.ptp.state import ClockLimits, ClockState

PERIOD = 0.5  # seconds between looks
COLOURS = {
    ClockState.LOCKED: "bold green",
    ClockState.LOCKING: "yellow",
    ClockState.HOLDOVER: "yellow",
    ClockState.UNLOCKED: "red",
    ClockState.UNAVAILABLE: "red",
    ClockState.FAULT: "bold red",
}
SETTLED = (ClockState.LOCKED, ClockState.FAULT, ClockState.UNAVAILABLE)
"""What a look or two more would not change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``muon-ad clock``."""
    parser.add_argument("--once", action="store_true", help="print the state once it is known, and end")
    parser.add_argument("--json", action="store_true", help="as --once, as JSON (keys as in ClockStatus.msg)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long --once and --json wait for LOCKED (default: 10)"
    )
    parser.add_argument(
        "--socket",
        default="",
        metavar="PATH",
        help=f"ptp4l's management socket (default: {READ_ONLY_SOCKET}, else {SOCKET})",
    )
    parser.add_argument(
        "--domain", type=int, default=0, choices=range(256), metavar="N", help="ptp4l's domainNumber (default: 0)"
    )
    parser.add_argument(
        "--transport-specific",
        type=int,
        default=0,
        choices=range(16),
        metavar="N",
        help="ptp4l's transportSpecific; 1 under gPTP (default: 0)",
    )
    parser.add_argument(
        "--hardware-clock",
        default="",
        metavar="/dev/ptpN",
        help="clock of the network card, or none (default: the one that ptp4l disciplines)",
    )
    parser.add_argument("--grandmaster", action="store_true", help="being the grandmaster counts as LOCKED")


def run(args: argparse.Namespace) -> int:
    """Watch until it is settled, or live until Ctrl-C; returns 0 when the clock is LOCKED at the end, else 1."""
    settings = PtpSettings(args.socket, args.domain, args.transport_specific, args.hardware_clock)
    monitor = PtpMonitor(settings, ClockLimits(grandmaster=args.grandmaster))
    if args.json or args.once or not sys.stdout.isatty():
        report = wait_for_lock(monitor, args.seconds)
        print(json.dumps(report.facts(), indent=2) if args.json else describe(report))
    else:
        report = show_live(monitor)
    return int(report.judgement.state != ClockState.LOCKED)


def wait_for_lock(monitor: PtpMonitor, seconds: float) -> ClockReport:
    """Look until the state is settled or `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while True:
        report = monitor.look()
        if report.judgement.state in SETTLED or time.monotonic() + PERIOD > deadline:
            return report
        time.sleep(PERIOD)


def show_live(monitor: PtpMonitor) -> ClockReport:
    """Draw the state anew with every look, until Ctrl-C."""
    from rich.live import Live
    from rich.table import Table

    report = monitor.look()
    with Live(auto_refresh=False) as live:
        try:
            while True:
                table = Table.grid(padding=(0, 2))
                for name, value in rows(report):
                    table.add_row(name, value, style=COLOURS[report.judgement.state] if name == "state" else None)
                live.update(table, refresh=True)
                time.sleep(PERIOD)
                report = monitor.look()
        except KeyboardInterrupt:
            return report


def describe(report: ClockReport) -> str:
    """The state as lines of text."""
    return "\n".join(f"{name:14} {value}" for name, value in rows(report))


def rows(report: ClockReport) -> list[tuple[str, str]]:
    """The state as names and values for people."""
    judgement, observation, status = report.judgement, report.observation, report.observation.ptp4l
    lines = [
        ("state", f"{judgement.state.name} for {judgement.state_age_ns / 1e9:.0f} s"),
        ("reason", judgement.reason),
    ]
    if status is None:
        return lines
    scale = status.time_properties
    kind = "TAI" if scale.ptp_timescale else "not TAI (UTC, or a time of its own)"
    interface = status.properties.interface if status.properties else str(status.port.port_number)
    vouched = "" if scale.utc_offset_valid else ", not vouched for"
    lines += [
        ("port", f"{interface} {status.port.state.name}"),
        ("grandmaster", f"{status.parent.grandmaster_identity}, steps removed: {status.current.steps_removed}"),
        ("offset", microseconds(status.time_status.master_offset_ns)),
        ("path delay", microseconds(status.current.mean_path_delay_ns)),
        ("last sync", "none seen" if judgement.sync_age_ns is None else f"{judgement.sync_age_ns / 1e9:.1f} s ago"),
        ("time scale", f"{kind}; TAI - UTC {scale.utc_offset_s} s{vouched}"),
        ("time stamps", report.timestamping or "ptp4l does not tell"),
    ]
    if observation.needs_phc2sys:
        known = observation.system_offset_ns
        lines += [
            ("card's clock", report.hardware_clock_failure or report.hardware_clock or "not found"),
            ("system clock", "not compared" if known is None else f"{microseconds(known)} off the card's clock"),
            ("phc2sys", "runs" if observation.phc2sys_running else "does not run"),
        ]
    return lines


def microseconds(nanoseconds: int) -> str:
    """A duration with sign, in microseconds."""
    return f"{nanoseconds / 1e3:+,.3f} µs"
