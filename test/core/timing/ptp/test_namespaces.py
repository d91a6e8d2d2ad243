# SPDX-License-Identifier: Apache-2.0
"""Two real ptp4l, master and slave, in network namespaces joined by a veth pair; the slave is watched.

Time stamping is by software. No clock is moved, and none need be, since both read the same one: both run free, in a
user namespace whose root may not set the clock. A free running ptp4l reports SLAVE when it is told that something else
keeps the clock, which is done here by SYNCHRONIZATION_UNCERTAIN_NP.
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
# Messages eight times a second, and patience with a busy machine.
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
free_running 1
"""
READ_ONLY = "uds_ro_address {folder}/{name}.ro\n"  # an option that linuxptp has from version 4 on
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
        version = subprocess.run(["ptp4l", "-v"], capture_output=True, text=True, check=True).stdout
        self.has_read_only = int(version.split(".")[0]) >= 4
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def join(self) -> str:
        """Make the namespaces and connect them; returns the complaint when that is not possible."""
        self._keep("ptp_master", APART)
        self._keep("ptp_slave", (*ENTER, f"--user=/proc/{self._keeper('ptp_master')}/ns/user"))
        script = ["sh", "-c", SET_UP, "sh", str(self._keeper("ptp_slave"))]
        made = subprocess.run([*self._inside("ptp_master"), *script], capture_output=True, text=True, check=False)
        return "" if made.returncode == 0 else made.stderr.strip()

    def start(self, name: str, slave: bool = False) -> None:
        """Start ptp4l on the interface `name` in its namespace."""
        settings = {"folder": self.folder, "name": name, "priority": 200 if slave else 10, "slave_only": int(slave)}
        text = (CONFIGURATION + READ_ONLY * self.has_read_only + "[{name}]\n").format(**settings)
        configuration = self.folder / f"{name}.conf"
        configuration.write_text(text)
        command = [*self._inside(name), "ptp4l", "-m", "-q", "-f", str(configuration)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    def address(self, name: str) -> str:
        """Where every user may ask the ptp4l; before version 4, where root may."""
        return str(self.folder / name) + ".ro" * self.has_read_only

    def tell_synchronized(self, name: str) -> None:
        """Tell the ptp4l that its clock is kept by others."""
        address, own = str(self.folder / name), str(self.folder / "pmc")
        command = ["pmc", "-u", "-b", "0", "-s", address, "-i", own, "SET SYNCHRONIZATION_UNCERTAIN_NP 0"]
        subprocess.run([*self._inside(name), *command], capture_output=True, check=True)

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
    for program in ("ptp4l", "pmc", "ip", "unshare", "nsenter"):
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
    monitor = PtpMonitor(PtpSettings(network.address("ptp_slave")), LIMITS)
    assert monitor.look().judgement.state == ClockState.UNAVAILABLE
    network.start("ptp_slave", slave=True)
    watch(monitor, in_state(ClockState.UNLOCKED))
    network.start("ptp_master")
    watch(monitor, in_state(ClockState.LOCKING))
    network.tell_synchronized("ptp_slave")
    locked = watch(monitor, in_state(ClockState.LOCKED))[-1]
    status = locked.observation.ptp4l
    assert status is not None
    assert locked.timestamping == ("" if network.has_read_only else "SOFTWARE")  # root's only, from version 4 on
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
    monitor = PtpMonitor(PtpSettings(network.address("ptp_slave")), LIMITS)
    network.start("ptp_master")
    network.start("ptp_slave", slave=True)
    watch(monitor, in_state(ClockState.UNLOCKED))
    network.tell_synchronized("ptp_slave")
    watch(monitor, in_state(ClockState.LOCKED))
    network.stop("ptp_slave")
    reports = watch(monitor, in_state(ClockState.FAULT))
    states = {report.judgement.state for report in reports}
    assert (
        {ClockState.HOLDOVER, ClockState.FAULT} <= states <= {*ClockState} - {ClockState.UNLOCKED, ClockState.LOCKING}
    )
    assert "has ended" in reports[-1].judgement.reason
