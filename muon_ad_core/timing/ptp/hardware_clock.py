# SPDX-License-Identifier: Apache-2.0
"""The clock in a network card (PHC): which one belongs to ptp4l, and how far the system clock is from it.

The requests and structures are those of linux/ptp_clock.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

NANOSECONDS = 1_000_000_000
SAMPLES = 9
"""Of so many readings the one with the shortest bracket counts."""
_TIME = struct.Struct("=qII")  # seconds, nanoseconds, reserved
_HEAD = struct.Struct("=I12x")  # number of samples
_MOST_SAMPLES = 25  # PTP_MAX_SAMPLES
_SYS_OFFSET = 0x43403D05  # _IOW('=', 5, struct ptp_sys_offset)
_SYS_OFFSET_PRECISE = 0xC0403D08  # _IOWR('=', 8, struct ptp_sys_offset_precise)
_SYS_OFFSET_EXTENDED = 0xC4C03D09  # _IOWR('=', 9, struct ptp_sys_offset_extended)
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)


@dataclass(frozen=True)
class CrossTimestamp:
    """Both clocks at one instant."""

    hardware_ns: int
    system_ns: int
    uncertainty_ns: int
    """Half the time the reading took; 0 where the hardware reads both at once."""

    @property
    def system_minus_hardware_ns(self) -> int:
        return self.system_ns - self.hardware_ns


def find_hardware_clock(interface: str, clock_identity: str, sys_net: Path = Path("/sys/class/net")) -> Path | None:
    """The /dev/ptpN of ptp4l's network card; None when it has none.

    Args:
        interface: its name; empty where ptp4l does not tell, then the card whose address made `clock_identity`.
        clock_identity: of ptp4l, such as a2f4c7.fffe.bfc90d.
    """
    octets = clock_identity.replace(".", "")
    address = ":".join((octets[:6] + octets[10:])[place : place + 2] for place in range(0, 12, 2))
    for card in sorted(sys_net.glob("*")):
        if card.name == interface or (not interface and _text(card / "address") == address):
            for clock in sorted((card / "device" / "ptp").glob("ptp*")):
                return Path("/dev", clock.name)
    return None


def read_cross_timestamp(device: Path) -> CrossTimestamp:
    """Read a PHC together with CLOCK_REALTIME, by the most precise request that the driver offers.

    Raises:
        OSError: the device is missing, may not be opened, or answers no request.
    """
    descriptor = os.open(device, os.O_RDONLY)
    try:
        for read in (_read_precise, _read_extended, _read_basic):
            try:
                return read(descriptor)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
        raise OSError(errno.EOPNOTSUPP, "the driver offers no cross timestamp", str(device))
    finally:
        os.close(descriptor)


def closest(brackets: list[tuple[int, int, int]]) -> CrossTimestamp:
    """The reading with the shortest bracket of (system before, hardware, system after), each in nanoseconds."""
    before, hardware, after = min(brackets, key=lambda bracket: bracket[2] - bracket[0])
    return CrossTimestamp(hardware, (before + after) // 2, (after - before + 1) // 2)


def _read_precise(descriptor: int) -> CrossTimestamp:
    times = _request(descriptor, _SYS_OFFSET_PRECISE, bytearray(3 * _TIME.size + 16), 0)
    return CrossTimestamp(times[0], times[1], 0)


def _read_extended(descriptor: int) -> CrossTimestamp:
    buffer = bytearray(_HEAD.size + 3 * _MOST_SAMPLES * _TIME.size)
    times = _request(descriptor, _SYS_OFFSET_EXTENDED, buffer, _HEAD.size)
    return closest([(times[at], times[at + 1], times[at + 2]) for at in range(0, 3 * SAMPLES, 3)])


def _read_basic(descriptor: int) -> CrossTimestamp:
    buffer = bytearray(_HEAD.size + (2 * _MOST_SAMPLES + 1) * _TIME.size)
    times = _request(descriptor, _SYS_OFFSET, buffer, _HEAD.size)
    return closest([(times[at], times[at + 1], times[at + 2]) for at in range(0, 2 * SAMPLES, 2)])


def _request(descriptor: int, request: int, buffer: bytearray, offset: int) -> list[int]:
    """Send a request; the times it wrote into the buffer from `offset` on, in nanoseconds."""
    if offset:
        _HEAD.pack_into(buffer, 0, SAMPLES)
    fcntl.ioctl(descriptor, request, buffer)
    return [seconds * NANOSECONDS + part for seconds, part, _ in _TIME.iter_unpack(buffer[offset:])]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
