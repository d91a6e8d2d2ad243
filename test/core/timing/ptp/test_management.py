# SPDX-License-Identifier: Apache-2.0
"""Management messages: replies recorded from ptp4l, refusals, and nonsense."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

IDENTITY, MASTER = "a2f4c7.fffe.bfc90d", "7a67b1.fffe.26e909"
EXPECTED = {
    DataSet.DEFAULT: DefaultDataSet(number_ports=1, clock_identity=IDENTITY, domain=0),
    DataSet.CURRENT: CurrentDataSet(steps_removed=1, offset_ns=-261, mean_path_delay_ns=1653),
    DataSet.PARENT: ParentDataSet(grandmaster_identity=MASTER, grandmaster_clock_class=248),
    DataSet.TIME_PROPERTIES: TimeProperties(37, utc_offset_valid=False, ptp_timescale=False, time_traceable=False),
    DataSet.PORT: PortDataSet(IDENTITY, 1, PortState.UNCALIBRATED),
    DataSet.TIME_STATUS_NP: TimeStatus(-13, 1_795_221_390_564_262_949, True, MASTER),
    DataSet.PORT_PROPERTIES_NP: PortProperties(1, "SOFTWARE", "veth1"),
}


@pytest.mark.parametrize("data_set", DataSet, ids=lambda data_set: data_set.name)
def test_recorded_replies_are_read(data_set: DataSet, recorded: dict[DataSet, bytes]) -> None:
    reply = decode_reply(recorded[data_set])
    assert (reply.sequence, reply.data_set) == (1, data_set)
    assert reply.data == EXPECTED[data_set]


def test_a_refusal_names_the_data_set(refusal: bytes) -> None:
    reply = decode_reply(refusal)
    assert (reply.sequence, reply.data_set, reply.data) == (1, 0xC00F, None)


def test_a_request_is_a_get_to_all_ports() -> None:
    """The bytes that pmc sends for GET CURRENT_DATA_SET (its sourcePortIdentity and sequence apart)."""
    request = encode_get(DataSet.CURRENT, sequence=0x1234, domain=3, transport_specific=1)
    head = "1d020036" + "03" + "00" * 15 + "00" * 10 + "1234" + "04" + "7f"
    assert request.hex() == head + "ff" * 10 + "00000000" + "000100022001"


@pytest.mark.parametrize("data_set", DataSet, ids=lambda data_set: data_set.name)
def test_any_shortening_of_a_recorded_reply_is_refused(data_set: DataSet, recorded: dict[DataSet, bytes]) -> None:
    message = recorded[data_set]
    padding = 2 if message.endswith(bytes(2)) else 0  # ptp4l pads to an even length
    for length in range(len(message) - padding):
        with pytest.raises(ManagementError):
            decode_reply(message[:length])


def test_a_request_is_no_reply() -> None:
    with pytest.raises(ManagementError, match="no reply"):
        decode_reply(encode_get(DataSet.CURRENT, 1))


@given(st.binary(max_size=200), st.sampled_from(DataSet))
def test_nonsense_raises_nothing_else(noise: bytes, data_set: DataSet) -> None:
    reply = bytearray(encode_get(data_set, 7) + noise)
    reply[46] = 2  # a response
    reply[50:52] = (2 + len(noise)).to_bytes(2, "big")
    for message in (noise, bytes(reply)):
        with contextlib.suppress(ManagementError):
            assert decode_reply(message).sequence in range(0x10000)
