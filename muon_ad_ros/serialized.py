# SPDX-License-Identifier: Apache-2.0
"""Reading serialized messages without unpacking them."""

from __future__ import annotations

import struct


def header_of(data: bytes) -> tuple[int, str]:
    """Stamp in nanoseconds and frame_id of a serialized message (CDR) that begins with a std_msgs/Header."""
    # Four bytes that say the byte order, then int32 sec, uint32 nanosec, uint32 length with the final zero, characters.
    seconds, nanoseconds, length = struct.unpack_from("<iII" if data[1] & 1 else ">iII", data, 4)
    return seconds * 1_000_000_000 + nanoseconds, bytes(data[16 : 16 + length - 1]).decode(errors="replace")
