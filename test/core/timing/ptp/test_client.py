# SPDX-License-Identifier: Apache-2.0
"""The client of ptp4l's management socket, against a stand-in with recorded replies."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muon_ad_core.timing.ptp import client
from muon_ad_core.timing.ptp.client import Ptp4lUnavailable, ask_ptp4l
from muon_ad_core.timing.ptp.management import GET, HEADER, DataSet, PortState


def test_all_data_sets_are_gathered(ptp4l: Any) -> None:
    status = ask_ptp4l(ptp4l.path)
    assert status.default.clock_identity == "a2f4c7.fffe.bfc90d"
    assert (status.port.state, status.current.mean_path_delay_ns) == (PortState.UNCALIBRATED, 1653)
    assert status.time_status.master_offset_ns == -13
    assert status.properties is not None and status.properties.interface == "veth1"


def test_nothing_but_gets_is_sent(ptp4l: Any) -> None:
    ask_ptp4l(ptp4l.path, domain=5, transport_specific=1)
    assert len(ptp4l.requests) == len(DataSet)
    for request in ptp4l.requests:
        fields = HEADER.unpack_from(request)
        assert (fields[0] >> 4, fields[3], fields[17]) == (1, 5, GET)


def test_its_own_address_is_removed(ptp4l: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "replies"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    ask_ptp4l(ptp4l.path)
    ptp4l.replies[DataSet.DEFAULT] = []
    monkeypatch.setattr(client, "TIMEOUT_S", 0.1)
    with pytest.raises(Ptp4lUnavailable):
        ask_ptp4l(ptp4l.path)
    assert not list(folder.iterdir())


def test_where_ptp4l_hides_the_interface_the_rest_is_told(ptp4l: Any, refusal: bytes) -> None:
    ptp4l.replies[DataSet.PORT_PROPERTIES_NP] = [refusal[:54] + b"\xc0\x04" + refusal[56:]]
    assert ask_ptp4l(ptp4l.path).properties is None


def test_the_port_that_follows_counts(ptp4l: Any) -> None:
    """A boundary clock answers once for each port."""
    ptp4l.patch(DataSet.DEFAULT, 2, (3).to_bytes(2, "big"))
    (port,) = ptp4l.replies[DataSet.PORT]
    states = (PortState.MASTER, PortState.SLAVE, PortState.FAULTY)
    ptp4l.replies[DataSet.PORT] = [
        port[:62] + number.to_bytes(2, "big") + bytes([state]) + port[65:] for number, state in enumerate(states, 1)
    ]
    (properties,) = ptp4l.replies[DataSet.PORT_PROPERTIES_NP]
    ptp4l.replies[DataSet.PORT_PROPERTIES_NP] = [
        properties[:62] + number.to_bytes(2, "big") + properties[64:-1] + f"{number}".encode() for number in (1, 2, 3)
    ]
    status = ask_ptp4l(ptp4l.path)
    assert (status.port.state, status.port.port_number) == (PortState.SLAVE, 2)
    assert status.properties is not None and status.properties.interface == "veth2"


def test_replies_to_others_and_noise_are_passed_over(ptp4l: Any) -> None:
    (status,) = ptp4l.replies[DataSet.TIME_STATUS_NP]
    ptp4l.replies[DataSet.TIME_STATUS_NP] = [b"noise" * 10, ptp4l.replies[DataSet.CURRENT][0], status]
    assert ask_ptp4l(ptp4l.path).time_status.master_offset_ns == -13


def test_no_ptp4l(tmp_path: Path) -> None:
    with pytest.raises(Ptp4lUnavailable, match="not running"):
        ask_ptp4l(str(tmp_path / "ptp4l"))


def test_a_socket_nobody_listens_at(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ended:
        ended.bind(str(tmp_path / "ptp4l"))
    with pytest.raises(Ptp4lUnavailable, match="has ended"):
        ask_ptp4l(str(tmp_path / "ptp4l"))


def test_a_ptp4l_that_does_not_answer(ptp4l: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_S", 0.1)
    ptp4l.replies = {data_set: [] for data_set in DataSet}
    with pytest.raises(Ptp4lUnavailable, match="another domainNumber than 4"):
        ask_ptp4l(ptp4l.path, domain=4)


def test_a_ptp4l_that_refuses_what_is_needed(ptp4l: Any, refusal: bytes) -> None:
    ptp4l.replies[DataSet.TIME_STATUS_NP] = [refusal[:54] + b"\xc0\x00" + refusal[56:]]
    with pytest.raises(Ptp4lUnavailable, match="only a part"):
        ask_ptp4l(ptp4l.path)


@pytest.fixture
def as_nobody(ptp4l: Any) -> Iterator[None]:
    """A user who may not write to the socket; root may write to all."""
    os.chmod(ptp4l.path, 0o400)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_a_socket_of_root(ptp4l: Any, as_nobody: None) -> None:
    with pytest.raises(Ptp4lUnavailable, match=f"sudo chmod 666 {ptp4l.path}"):
        ask_ptp4l(ptp4l.path)
