# SPDX-License-Identifier: Apache-2.0
"""Replies recorded from a real ptp4l (linuxptp 3.1.1, one port, software time stamping), and a stand-in for it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from muon_ad_core.timing.ptp import client
from muon_ad_core.timing.ptp.management import HEADER, TLV, DataSet, PortState

# While the port followed a master and was in calibration.
RECORDED = {
    DataSet.DEFAULT: bytes.fromhex(
        "0d02004a00000000000000000000000000000000a2f4c7fffebfc90d00000001047f0000000000000000739f00000200"
        "0001001620000300000180fffeffff80a2f4c7fffebfc90d0000"
    ),
    DataSet.CURRENT: bytes.fromhex(
        "0d02004800000000000000000000000000000000a2f4c7fffebfc90d00000001047f0000000000000000739f00000200"
        "0001001420010001fffffffffefb00000000000006750000"
    ),
    DataSet.PARENT: bytes.fromhex(
        "0d02005600000000000000000000000000000000a2f4c7fffebfc90d00000001047f0000000000000000739f00000200"
        "0001002220027a67b1fffe26e90900010000ffff7fffffff0af8feffff807a67b1fffe26e909"
    ),
    DataSet.TIME_PROPERTIES: bytes.fromhex(
        "0d02003a00000000000000000000000000000000a2f4c7fffebfc90d00000001047f0000000000000000739f00000200"
        "000100062003002500a0"
    ),
    DataSet.PORT: bytes.fromhex(
        "0d02005000000000000000000000000000000000a2f4c7fffebfc90d00010001047f0000000000000000739f00000200"
        "0001001c2004a2f4c7fffebfc90d000108fd0000000000000000fe03fd010002"
    ),
    DataSet.TIME_STATUS_NP: bytes.fromhex(
        "0d02006800000000000000000000000000000000a2f4c7fffebfc90d00000001047f0000000000000000739f00000200"
        "00010034c000fffffffffffffff318e9e857ddc404250000000000000000000000000000000000000000000000000001"
        "7a67b1fffe26e909"
    ),
    DataSet.PORT_PROPERTIES_NP: bytes.fromhex(
        "0d02004800000000000000000000000000000000a2f4c7fffebfc90d00010001047f0000000000000000739f00000200"
        "00010014c004a2f4c7fffebfc90d00010800057665746831"
    ),
}
REFUSAL = bytes.fromhex(
    "0d02003c00000000000000000000000000000000a2f4c7fffebfc90d00010001047f0000000000000000739f00000200"
    "000200080002c00f00000000"
)
"""Of data set 0xc00f, which that version does not know."""


class StandInPtp4l:
    """Answers requests as a ptp4l would; tests change `replies`, and may let sync messages come in."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.replies = {data_set: [message] for data_set, message in RECORDED.items()}
        self.requests: list[bytes] = []
        self.master_lives = False
        """Whether each request for TIME_STATUS_NP finds a new sync message."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def follow(self) -> None:
        """Become the slave of a master that lives."""
        self.patch(DataSet.PORT, 10, bytes([PortState.SLAVE]))
        self.master_lives = True

    def patch(self, data_set: DataSet, offset: int, value: bytes) -> None:
        """Replace bytes of a reply; `offset` counts from the beginning of the data."""
        (message,) = self.replies[data_set]
        start = HEADER.size + TLV.size + offset
        self.replies[data_set] = [message[:start] + value + message[start + len(value) :]]

    def _serve(self) -> None:
        while True:
            request, sender = self._socket.recvfrom(2048)
            if not request:
                return
            self.requests.append(request)
            data_set = DataSet(int.from_bytes(request[-2:], "big"))
            if data_set == DataSet.TIME_STATUS_NP and self.master_lives:
                self.patch(data_set, 8, len(self.requests).to_bytes(8, "big"))  # ingress_time
            for reply in self.replies[data_set]:
                with contextlib.suppress(FileNotFoundError):  # the client has stopped waiting
                    self._socket.sendto(reply[:30] + request[30:32] + reply[32:], sender)  # its sequence number


@pytest.fixture
def recorded() -> dict[DataSet, bytes]:
    return dict(RECORDED)


@pytest.fixture
def refusal() -> bytes:
    return REFUSAL


@pytest.fixture
def ptp4l(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInPtp4l]:
    monkeypatch.setattr(client, "TIMEOUT_S", 30.0)  # the machine that tests may be busy
    stand_in = StandInPtp4l(tmp_path / "ptp4l")
    yield stand_in
    stand_in.close()
