# SPDX-License-Identifier: Apache-2.0
"""What a recording holds: topics and serialized messages."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from rosbags.typesys import Stores, get_typestore

from muon_ad_core.sources.base import NANOSECONDS

HEADER_FIRST = re.compile(r"(\s*(#[^\n]*)?\n)*\s*std_msgs/(msg/)?Header\s")


@dataclass(frozen=True)
class Topic:
    """What a recording holds of one topic."""

    type: str
    """As in "sensor_msgs/msg/Image"."""
    count: int
    has_header: bool
    """Its messages begin with a std_msgs/Header, so ``restamped`` applies to them."""
    transient_local: bool = False
    """Late subscribers got its last message, as with /tf_static. False also where a damage hides it."""


class Record(NamedTuple):
    """A recorded message."""

    topic: str
    type: str
    stamp_ns: int
    """When it was recorded, nanoseconds since 1970."""
    data: bytes
    """Serialized as CDR."""


def begins_with_header(message_type: str, definition: str) -> bool:
    """Whether messages begin with a std_msgs/Header; ``definition`` is the .msg text, "" if not recorded."""
    return bool(HEADER_FIRST.match(definition)) or (not definition and message_type in _standard_types_with_header())


@cache
def _standard_types_with_header() -> frozenset[str]:
    types = get_typestore(Stores.LATEST).fielddefs
    return frozenset(name for name, (_, fields) in types.items() if fields and fields[0][1][1] == "std_msgs/msg/Header")


def restamped(data: bytes, stamp_ns: int) -> bytes:
    """A serialized message that begins with a std_msgs/Header, with another stamp (nanoseconds >= 0)."""
    # CDR: four bytes that say the byte order, then the fields: int32 sec, uint32 nanosec, ...
    order = "<" if data[1] & 1 else ">"
    return data[:4] + struct.pack(order + "iI", *divmod(stamp_ns, NANOSECONDS)) + data[12:]
