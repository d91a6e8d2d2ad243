# SPDX-License-Identifier: Apache-2.0
"""Two real ptp4l, master and slave, in network namespaces joined by a veth pair; the slave is watched.

Time stamping is by software. No clock is moved: both run in a user namespace, whose root may not set the clock, which
makes no difference here, since both read the same one. With free_running instead, ptp4l never reports SLAVE.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muon_ad_core.timing.ptp import client
from muon_ad_core.timing.ptp.monitor import ClockReport, PtpMonitor, PtpSettings
from muon_ad_core.timing.ptp.state import ClockLimits, ClockState

PATIENCE = 90.0  # seconds; some ten are needed
SECOND = 1_000_000_000
# Offsets are of microseconds on an idle machine; on a busy one software time stamps may be off by milliseconds.
LIMITS = ClockLimits(
    lock_offset_ns=50_000_000,
    unlock_offset_ns=500_000_000,
    sync_timeout_ns=2 * SECOND,
    holdover_ns=5 * SECOND,
)
# Messages eight times a second, a servo that settles at once, and patience with a busy machine.
CONFIGURATION = """\
[global]
time_stamping software
network_transport L2
uds_address {folder}/{name}
priority1 {priority}
slaveOnly {slave_only}
logSyncInterval -3
logAnnounceInterval -2
logMinDelayReqInterval -3
announceReceiptTimeout 20
tx_timestamp_timeout 1000
fault_reset_interval 0
pi_proportional_const 0.7
pi_integral_const 0.3
step_threshold 0
first_step_threshold 0
[{name}]
"""
SET_UP = """\
ip link add ptp_master type veth peer name ptp_slave &&
ip link set ptp_slave netns "$1" &&
ip link set ptp_master up &&
nsenter --net="/proc/$1/ns/net" ip link set ptp_slave up
"""
KEEP = ("unshare", "--net", "sleep", "infinity")
APART = ("unshare", "--user", "--map-root-user")
ENTER = ("nsenter", "--preserve-credentials")  # the one user that is mapped there


class Network:
    """Two namespaces joined by a veth pair, within one user namespace; each is kept by a process that sleeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._keep("ptp_master", APART)
        self._keep("ptp_slave", (*ENTER, f"--user=/proc/{self._keeper('ptp_master')}/ns/user"))

    def join(self) -> str:
        """Connect the namespaces; returns the complaint when that is not possible."""
        script = ["sh", "-c", SET_UP, "sh", str(self._keeper("ptp_slave"))]
        made = subprocess.run([*self._inside("ptp_master"), *script], capture_output=True, text=True, check=False)
        return "" if made.returncode == 0 else made.stderr.strip()

    def start(self, name: str, slave: bool = False) -> None:
        """Start ptp4l on the interface `name` in its namespace."""
        text = CONFIGURATION.format(folder=self.folder, name=name, priority=200 if slave else 10, slave_only=int(slave))
        configuration = self.folder / f"{name}.conf"
        configuration.write_text(text)
        command = [*self._inside(name), "ptp4l", "-m", "-q", "-f", str(configuration)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self) -> None:
        for name in list(self.processes):
            self.stop(name)

    def _keep(self, name: str, prefix: tuple[str, ...]) -> None:
        self.processes[name + " namespace"] = subprocess.Popen([*prefix, *KEEP])
        own, other = Path("/proc/self/ns/net"), Path(f"/proc/{self._keeper(name)}/ns/net")
        deadline = time.monotonic() + PATIENCE
        while other.readlink() == own.readlink() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _keeper(self, name: str) -> int:
        return self.processes[name + " namespace"].pid

    def _inside(self, name: str) -> list[str]:
        keeper = self._keeper(name)
        return [*ENTER, f"--user=/proc/{keeper}/ns/user", f"--net=/proc/{keeper}/ns/net"]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setattr(client, "TIMEOUT_S", 10.0)
    for program in ("ptp4l", "ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian packages linuxptp, iproute2, util-linux)")
    allowed = subprocess.run([*APART, "--net", "true"], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"this user may not make network namespaces: {allowed.stderr.strip()}")
    network = Network(tmp_path)
    try:
        if complaint := network.join():
            pytest.skip(f"no veth pair can be made here: {complaint}")
        yield network
    finally:
        network.close()


def watch(monitor: PtpMonitor, until: Callable[[ClockReport], bool]) -> list[ClockReport]:
    """Look four times a second until the condition holds; fails with the states seen when it never does."""
    deadline = time.monotonic() + PATIENCE
    reports: list[ClockReport] = []
    while time.monotonic() < deadline:
        reports.append(monitor.look())
        if until(reports[-1]):
            return reports
        time.sleep(0.25)
    pytest.fail(f"seen: {[(report.judgement.state.name, report.judgement.reason) for report in reports[-4:]]}")


def in_state(state: ClockState) -> Callable[[ClockReport], bool]:
    return lambda report: report.judgement.state == state


def test_lock_loss_of_the_master_and_recovery(network: Network) -> None:
    monitor = PtpMonitor(PtpSettings(str(network.folder / "ptp_slave")), LIMITS)
    assert monitor.look().judgement.state == ClockState.UNAVAILABLE
    network.start("ptp_slave", slave=True)
    watch(monitor, in_state(ClockState.UNLOCKED))
    network.start("ptp_master")
    locked = watch(monitor, in_state(ClockState.LOCKED))[-1]
    status = locked.observation.ptp4l
    assert status is not None and status.properties is not None
    assert (locked.timestamping, status.properties.interface) == ("SOFTWARE", "ptp_slave")
    assert status.parent.grandmaster_identity == status.time_status.grandmaster_identity
    assert status.current.steps_removed == 1

    network.stop("ptp_master")
    reports = watch(monitor, in_state(ClockState.FAULT))
    states = [report.judgement.state for report in reports]
    assert ClockState.HOLDOVER in states
    assert not {ClockState.UNLOCKED, ClockState.UNAVAILABLE} & set(states)
    for report in reports:
        judgement, status = report.judgement, report.observation.ptp4l
        assert judgement.sync_age_ns is not None
        if judgement.state == ClockState.LOCKED:
            assert judgement.sync_age_ns <= LIMITS.sync_timeout_ns
        elif judgement.state == ClockState.HOLDOVER:
            assert judgement.sync_age_ns <= LIMITS.holdover_ns
            # What ptp4l still says of the dead master, and must not be believed:
            assert status is not None and status.time_status.grandmaster_present
        elif judgement.state == ClockState.FAULT:
            assert judgement.sync_age_ns > LIMITS.holdover_ns

    network.start("ptp_master")
    watch(monitor, in_state(ClockState.LOCKED))


def test_ptp4l_s_own_end_is_holdover_too(network: Network) -> None:
    monitor = PtpMonitor(PtpSettings(str(network.folder / "ptp_slave")), LIMITS)
    network.start("ptp_master")
    network.start("ptp_slave", slave=True)
    watch(monitor, in_state(ClockState.LOCKED))
    network.stop("ptp_slave")
    reports = watch(monitor, in_state(ClockState.FAULT))
    states = {report.judgement.state for report in reports}
    assert (
        {ClockState.HOLDOVER, ClockState.FAULT} <= states <= {*ClockState} - {ClockState.UNLOCKED, ClockState.LOCKING}
    )
    assert "has ended" in reports[-1].judgement.reason
