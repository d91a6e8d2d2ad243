# SPDX-License-Identifier: Apache-2.0
"""The network card's clock: found by interface or identity, read by the best request the driver offers."""

from __future__ import annotations

import errno
import fcntl
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.timing.ptp.hardware_clock import closest, find_hardware_clock, read_cross_timestamp

SECOND = 1_000_000_000
# From linux/ptp_clock.h: request -> (size of its structure, offset of the first time in it).
PRECISE, EXTENDED, BASIC = 0xC0403D08, 0xC4C03D09, 0x43403D05
STRUCTURES = {PRECISE: (64, 0), EXTENDED: (1216, 16), BASIC: (832, 16)}
SYSTEM_NS, CARD_NS = 1_800_000_000 * SECOND, 1_800_000_037 * SECOND + 250


@pytest.fixture
def sys_net(tmp_path: Path) -> Path:
    for name, address, clock in (("eth0", "a2:f4:c7:bf:c9:0d", "ptp1"), ("eth1", "02:00:00:00:00:01", "")):
        folder = tmp_path / name
        (folder / "device" / "ptp" / clock).mkdir(parents=True)
        (folder / "address").write_text(address + "\n")
    return tmp_path


def test_the_clock_is_that_of_the_interface(sys_net: Path) -> None:
    assert find_hardware_clock("eth0", "", sys_net) == Path("/dev/ptp1")
    assert find_hardware_clock("eth1", "a2f4c7.fffe.bfc90d", sys_net) is None


def test_without_the_interface_the_identity_tells_the_card(sys_net: Path) -> None:
    assert find_hardware_clock("", "a2f4c7.fffe.bfc90d", sys_net) == Path("/dev/ptp1")
    assert find_hardware_clock("", "020000.fffe.000002", sys_net) is None


class Driver:
    """Stands for the kernel: writes times into the structures of the requests it offers."""

    def __init__(self, offered: set[int]) -> None:
        self.offered = offered
        self.asked: list[int] = []

    def ioctl(self, descriptor: int, request: int, buffer: bytearray) -> int:
        self.asked.append(request)
        size, offset = STRUCTURES[request]
        assert len(buffer) == size == request >> 16 & 0x3FFF
        if request not in self.offered:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        count = struct.unpack_from("=I", buffer)[0]
        if request == PRECISE:
            times = [CARD_NS, SYSTEM_NS, 77]  # the last one is CLOCK_MONOTONIC_RAW
        elif request == EXTENDED:
            times = [t for n in range(count) for t in (SYSTEM_NS - 900 + n, CARD_NS, SYSTEM_NS + 900 - n)]
        else:
            times = [t for n in range(count) for t in (SYSTEM_NS - 900, CARD_NS)] + [SYSTEM_NS + 900]
        for place, time in enumerate(times):
            struct.pack_into("=qI", buffer, offset + 16 * place, *divmod(time, SECOND))
        return 0


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "ptp0"
    path.touch()
    return path


@pytest.mark.parametrize(
    ("offered", "uncertainty_ns"), [({PRECISE, EXTENDED, BASIC}, 0), ({EXTENDED, BASIC}, 892), ({BASIC}, 0)]
)
def test_the_most_precise_request_is_taken(
    device: Path, offered: set[int], uncertainty_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(offered)
    monkeypatch.setattr(fcntl, "ioctl", driver.ioctl)
    cross = read_cross_timestamp(device)
    assert driver.asked[-1] == next(request for request in STRUCTURES if request in offered)
    assert cross.hardware_ns == CARD_NS
    assert cross.uncertainty_ns == uncertainty_ns
    assert cross.system_minus_hardware_ns == pytest.approx(SYSTEM_NS - CARD_NS, abs=900)


def test_a_device_that_offers_nothing(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", Driver(set()).ioctl)
    with pytest.raises(OSError, match="no cross timestamp"):
        read_cross_timestamp(device)


def test_a_real_clock_is_read_where_there_is_one() -> None:
    devices = sorted(Path("/dev").glob("ptp[0-9]*"))
    if not devices:
        pytest.skip("this machine has no /dev/ptp*")
    try:
        first, second = (read_cross_timestamp(devices[0]) for _ in range(2))
    except PermissionError:
        pytest.skip(f"this user may not open {devices[0]}")
    assert second.hardware_ns > first.hardware_ns
    assert second.system_ns > first.system_ns


@given(st.lists(st.tuples(st.integers(0, 10**19), st.integers(0, 10**6)), min_size=1, max_size=25))
def test_the_shortest_bracket_bounds_the_error(readings: list[tuple[int, int]]) -> None:
    """Whenever within its bracket the card's clock was read, the system clock showed that time, give or take."""
    brackets = [(before, number, before + took) for number, (before, took) in enumerate(readings)]
    cross = closest(brackets)
    before, _, after = brackets[cross.hardware_ns]
    assert after - before == min(took for _, took in readings)
    assert cross.system_ns - cross.uncertainty_ns <= before <= after <= cross.system_ns + cross.uncertainty_ns
