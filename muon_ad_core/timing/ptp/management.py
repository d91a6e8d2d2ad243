# SPDX-License-Identifier: Apache-2.0
"""PTP management messages (IEEE 1588-2008, clause 15): GET requests, and the replies of ptp4l.

Of linuxptp's own data sets (names ending in NP) those this project reads are known as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("!BBHBBHqI8sHHBb8sHBBBB")  # common header and management fields, table 18 and 37
TLV = struct.Struct("!HHH")  # type, length of what follows it, management identifier
MANAGEMENT_MESSAGE = 0xD
CONTROL_MANAGEMENT = 4
LOG_INTERVAL_NONE = 0x7F
ALL_CLOCKS, ALL_PORTS = b"\xff" * 8, 0xFFFF
GET, RESPONSE = 0, 2
TLV_MANAGEMENT, TLV_ERROR = 0x0001, 0x0002


class ManagementError(Exception):
    """Bytes that are not a reply this project understands; says what is wrong with them."""


class DataSet(IntEnum):
    """Management identifiers."""

    DEFAULT = 0x2000
    CURRENT = 0x2001
    PARENT = 0x2002
    TIME_PROPERTIES = 0x2003
    PORT = 0x2004
    TIME_STATUS_NP = 0xC000
    PORT_PROPERTIES_NP = 0xC004


class PortState(IntEnum):
    """States of a PTP port (IEEE 1588, table 8)."""

    INITIALIZING = 1
    FAULTY = 2
    DISABLED = 3
    LISTENING = 4
    PRE_MASTER = 5
    MASTER = 6
    PASSIVE = 7
    UNCALIBRATED = 8
    SLAVE = 9
    GRAND_MASTER = 10  # linuxptp's own


@dataclass(frozen=True)
class DefaultDataSet:
    number_ports: int
    clock_identity: str
    domain: int


@dataclass(frozen=True)
class CurrentDataSet:
    steps_removed: int
    offset_ns: int
    mean_path_delay_ns: int


@dataclass(frozen=True)
class ParentDataSet:
    grandmaster_identity: str
    grandmaster_clock_class: int


@dataclass(frozen=True)
class TimeProperties:
    utc_offset_s: int
    utc_offset_valid: bool
    ptp_timescale: bool
    time_traceable: bool


@dataclass(frozen=True)
class PortDataSet:
    clock_identity: str
    port_number: int
    state: PortState


@dataclass(frozen=True)
class TimeStatus:
    """After a master died, ptp4l keeps offset, presence and identity; only `ingress_ns` stops, or becomes 0."""

    master_offset_ns: int
    ingress_ns: int
    """When the last sync message came in, on the clock that ptp4l disciplines."""
    grandmaster_present: bool
    grandmaster_identity: str


@dataclass(frozen=True)
class PortProperties:
    port_number: int
    timestamping: str
    interface: str


Data = DefaultDataSet | CurrentDataSet | ParentDataSet | TimeProperties | PortDataSet | TimeStatus | PortProperties


@dataclass(frozen=True)
class Reply:
    """One reply; `data` is None where ptp4l refused, for example because it does not know the data set."""

    sequence: int
    data_set: int
    data: Data | None


def encode_get(data_set: DataSet, sequence: int, domain: int = 0, transport_specific: int = 0) -> bytes:
    """A GET request to all ports of the clock that receives it.

    Args:
        sequence: 0 to 65535; the reply repeats it.
        domain: domainNumber of ptp4l; it does not answer to another one.
        transport_specific: transportSpecific of ptp4l (1 under gPTP), likewise.
    """
    header = HEADER.pack(
        transport_specific << 4 | MANAGEMENT_MESSAGE,
        2,
        HEADER.size + TLV.size,
        domain,
        *(0, 0, 0, 0),
        bytes(8),
        0,
        sequence,
        CONTROL_MANAGEMENT,
        LOG_INTERVAL_NONE,
        ALL_CLOCKS,
        ALL_PORTS,
        *(0, 0, GET, 0),
    )
    return header + TLV.pack(TLV_MANAGEMENT, 2, data_set)


def decode_reply(message: bytes) -> Reply:
    """Read a reply.

    Raises:
        ManagementError: the bytes are truncated, are no reply to a GET, or carry an unknown data set.
    """
    if len(message) < HEADER.size + TLV.size:
        raise ManagementError(f"{len(message)} bytes are no management message")
    fields = HEADER.unpack_from(message)
    sequence, action = fields[10], fields[17] & 0xF
    if fields[0] & 0xF != MANAGEMENT_MESSAGE or action != RESPONSE:
        raise ManagementError(f"message type {fields[0] & 0xF} with action {action} is no reply")
    kind, length, data_set = TLV.unpack_from(message, HEADER.size)
    body = message[HEADER.size + TLV.size :]
    if kind == TLV_ERROR:  # what `data_set` holds is the reason then; the data set follows it
        if len(body) < 2:
            raise ManagementError("a refusal without the data set it is about")
        return Reply(sequence, int.from_bytes(body[:2], "big"), None)
    if kind != TLV_MANAGEMENT or len(body) < length - 2:
        raise ManagementError(f"TLV {kind:#06x} of length {length} with {len(body)} bytes")
    return Reply(sequence, data_set, _decode_data(data_set, body[: max(length - 2, 0)]))


def format_identity(identity: bytes) -> str:
    """A clock identity as ptp4l prints it, such as a2f4c7.fffe.bfc90d."""
    text = identity.hex()
    return f"{text[:6]}.{text[6:10]}.{text[10:]}"


def _decode_data(data_set: int, body: bytes) -> Data:
    try:
        return _DECODERS[DataSet(data_set)](body)
    except (ValueError, struct.error) as error:
        raise ManagementError(f"data set {data_set:#06x} cannot be read: {error}") from None


def _default(body: bytes) -> DefaultDataSet:
    ports, identity, domain = struct.unpack_from("!2xH6x8sB", body)
    return DefaultDataSet(ports, format_identity(identity), domain)


def _current(body: bytes) -> CurrentDataSet:
    steps, offset, delay = struct.unpack_from("!Hqq", body)
    return CurrentDataSet(steps, offset >> 16, delay >> 16)  # TimeInterval: nanoseconds times 2^16


def _parent(body: bytes) -> ParentDataSet:
    clock_class, identity = struct.unpack_from("!19xB4x8s", body)
    return ParentDataSet(format_identity(identity), clock_class)


def _time_properties(body: bytes) -> TimeProperties:
    offset, flags = struct.unpack_from("!hB", body)
    return TimeProperties(offset, bool(flags & 0x04), bool(flags & 0x08), bool(flags & 0x10))


def _port(body: bytes) -> PortDataSet:
    identity, number, state = struct.unpack_from("!8sHB", body)
    return PortDataSet(format_identity(identity), number, PortState(state))


def _time_status(body: bytes) -> TimeStatus:
    offset, ingress, present, identity = struct.unpack_from("!qq22xi8s", body)
    return TimeStatus(offset, ingress, bool(present), format_identity(identity))


_TIMESTAMPING = ("SOFTWARE", "HARDWARE", "LEGACY", "ONESTEP", "P2P1STEP")


def _port_properties(body: bytes) -> PortProperties:
    number, kind, length = struct.unpack_from("!8xHxBB", body)
    timestamping = _TIMESTAMPING[kind] if kind < len(_TIMESTAMPING) else ""
    return PortProperties(number, timestamping, body[13 : 13 + length].decode(errors="replace"))


_DECODERS: dict[DataSet, Callable[[bytes], Data]] = {
    DataSet.DEFAULT: _default,
    DataSet.CURRENT: _current,
    DataSet.PARENT: _parent,
    DataSet.TIME_PROPERTIES: _time_properties,
    DataSet.PORT: _port,
    DataSet.TIME_STATUS_NP: _time_status,
    DataSet.PORT_PROPERTIES_NP: _port_properties,
}
