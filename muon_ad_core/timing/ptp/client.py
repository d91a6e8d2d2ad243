# SPDX-License-Identifier: Apache-2.0
"""Ask ptp4l for its data sets through its management socket. Nothing is ever set."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from muon_ad_core.timing.ptp.management import (
    CurrentDataSet,
    DataSet,
    DefaultDataSet,
    ManagementError,
    ParentDataSet,
    PortDataSet,
    PortProperties,
    PortState,
    TimeProperties,
    TimeStatus,
    decode_reply,
    encode_get,
)

READ_ONLY_SOCKET = "/var/run/ptp4lro"
"""linuxptp 4 and later; every user may ask there."""
SOCKET = "/var/run/ptp4l"
"""All versions; by default only root may ask there."""
TIMEOUT_S = 1.0
# What the port that matters most is likely to be, first.
_STATES_BY_WEIGHT = (
    PortState.SLAVE,
    PortState.UNCALIBRATED,
    PortState.FAULTY,
    PortState.GRAND_MASTER,
    PortState.MASTER,
)

Kind = TypeVar("Kind")


class Ptp4lUnavailable(Exception):
    """ptp4l cannot be asked; one sentence says why and what to do."""


@dataclass(frozen=True)
class Ptp4lStatus:
    """The data sets of one ptp4l at one instant."""

    default: DefaultDataSet
    current: CurrentDataSet
    parent: ParentDataSet
    time_properties: TimeProperties
    time_status: TimeStatus
    port: PortDataSet
    """The port that follows the master; without one, a faulty one, one that leads, or the first."""
    properties: PortProperties | None
    """Of `port`; None where ptp4l tells them only to root."""


def usual_socket() -> str:
    """Where to ask: the read-only socket if it is there, else the one that every version has (or would have)."""
    return READ_ONLY_SOCKET if os.path.exists(READ_ONLY_SOCKET) else SOCKET


def ask_ptp4l(path: str = "", domain: int = 0, transport_specific: int = 0) -> Ptp4lStatus:
    """Get all data sets; takes up to `TIMEOUT_S`.

    Args:
        path: ptp4l's socket; empty: `usual_socket`.
        domain: ptp4l's domainNumber.
        transport_specific: ptp4l's transportSpecific, 1 under gPTP.

    Raises:
        Ptp4lUnavailable: there is no ptp4l, it may not be asked, or does not answer.
    """
    path = path or usual_socket()
    with _connected(path) as connection:
        ask = _Conversation(connection, domain, transport_specific).ask
        try:
            default = ask(DataSet.DEFAULT, DefaultDataSet)
            if not default:
                raise Ptp4lUnavailable(
                    f"ptp4l does not answer at {path}: it hangs, or has another domainNumber than {domain} "
                    f"or transportSpecific than {transport_specific}"
                )
            ports = default[0].number_ports
            port = _foremost(ask(DataSet.PORT, PortDataSet, ports))
            return Ptp4lStatus(
                default=default[0],
                current=ask(DataSet.CURRENT, CurrentDataSet)[0],
                parent=ask(DataSet.PARENT, ParentDataSet)[0],
                time_properties=ask(DataSet.TIME_PROPERTIES, TimeProperties)[0],
                time_status=ask(DataSet.TIME_STATUS_NP, TimeStatus)[0],
                port=port,
                properties=_of_port(port, ask(DataSet.PORT_PROPERTIES_NP, PortProperties, ports)),
            )
        except IndexError:
            raise Ptp4lUnavailable(f"ptp4l at {path} tells only a part of its state: it hangs or is ending") from None
        except OSError as error:  # it ended in between
            raise Ptp4lUnavailable(f"ptp4l at {path} does not take requests ({error.strerror or error})") from None


def _foremost(ports: list[PortDataSet]) -> PortDataSet:
    weight = {state: place for place, state in enumerate(_STATES_BY_WEIGHT)}
    return sorted(ports, key=lambda port: weight.get(port.state, len(weight)))[0]


def _of_port(port: PortDataSet, properties: list[PortProperties]) -> PortProperties | None:
    return next((entry for entry in properties if entry.port_number == port.port_number), None)


class _Conversation:
    """Requests over one connection, one at a time, so that nobody's queue fills up; all within `TIMEOUT_S`."""

    def __init__(self, connection: socket.socket, domain: int, transport_specific: int) -> None:
        self._connection = connection
        self._domain = domain
        self._transport_specific = transport_specific
        self._deadline = time.monotonic() + TIMEOUT_S

    def ask(self, data_set: DataSet, kind: type[Kind], wanted: int = 1) -> list[Kind]:
        """Up to `wanted` replies (one a port, for data sets of ports); fewer when ptp4l refuses or time is up."""
        sequence = secrets.randbelow(0x10000)
        self._connection.send(encode_get(data_set, sequence, self._domain, self._transport_specific))
        received: list[Kind] = []
        while len(received) < wanted and (left := self._deadline - time.monotonic()) > 0:
            self._connection.settimeout(left)
            try:
                reply = decode_reply(self._connection.recv(2048))
            except TimeoutError:
                break
            except ManagementError:  # counts as not answered
                continue
            if (reply.sequence, reply.data_set) != (sequence, data_set):
                continue
            if not isinstance(reply.data, kind):  # refused
                break
            received.append(reply.data)
        return received


@contextlib.contextmanager
def _connected(path: str) -> Iterator[socket.socket]:
    """A socket to ptp4l, with an address of its own for the replies."""
    own = os.path.join(tempfile.gettempdir(), f"muon_ad_ptp.{os.getpid()}.{secrets.token_hex(4)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
        except FileNotFoundError:
            raise Ptp4lUnavailable(f"there is no {path}: ptp4l is not running (see docs/ptp.md)") from None
        except ConnectionRefusedError:
            raise Ptp4lUnavailable(f"nobody listens at {path}: ptp4l has ended") from None
        except PermissionError:
            raise Ptp4lUnavailable(
                f"this user may not ask at {path}: sudo chmod 666 {path}, or linuxptp 4, which has {READ_ONLY_SOCKET}"
            ) from None
        except OSError as error:
            raise Ptp4lUnavailable(f"{path} cannot be asked: {error.strerror or error}") from None
        try:
            connection.bind(own)
            os.chmod(own, 0o666)  # ptp4l may run as another user
        except OSError as error:
            raise Ptp4lUnavailable(f"replies cannot come to {own} ({error.strerror or error}): set TMPDIR") from None
        try:
            yield connection
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(own)
