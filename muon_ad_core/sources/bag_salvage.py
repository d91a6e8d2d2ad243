# SPDX-License-Identifier: Apache-2.0
"""Reads storage files of rosbag2 from the front, without index or end: for recordings that broke off.

MCAP: https://mcap.dev/spec. sqlite3: the tables ``topics`` and ``messages`` of rosbag2_storage_sqlite3.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from muon_ad_core.sources.bag_types import Record, Topic, begins_with_header

MCAP_MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
LARGEST_RECORD = 1 << 32
"""A longer record is a damaged length field."""


class DamagedBag(Exception):
    """A storage file cannot be read any further; the message says why, in a few words."""


class Channel(NamedTuple):
    """Topic, type, and the type's definition ("" if not recorded)."""

    topic: str
    type: str
    definition: str


Message = tuple[Channel, int, bytes]
"""Channel, stamp in nanoseconds, CDR bytes."""


class SalvagedBag:
    """Storage files of a damaged recording, read one after the other; of each, what comes before its damage.

    topics, start_ns, end_ns: of what is readable. reason: what is damaged, in a few words.
    """

    def __init__(self, files: list[Path], reason: str) -> None:
        """Reads all files once. ``reason``: why the recording is not intact, if no file says more."""
        self._files = files
        self.topics: dict[str, Topic] = {}
        self.start_ns, self.end_ns = sys.maxsize, 0
        reasons: list[str] = []
        counts: dict[Channel, int] = {}
        for file in files:
            try:
                for channel, stamp_ns, _ in salvage(file):
                    counts[channel] = counts.get(channel, 0) + 1
                    self.start_ns, self.end_ns = min(self.start_ns, stamp_ns), max(self.end_ns, stamp_ns)
            except DamagedBag as damage:
                reasons.append(f"{file.name}: {damage}")
        for channel, count in counts.items():
            has_header = begins_with_header(channel.type, channel.definition)
            self.topics[channel.topic] = Topic(channel.type, count, has_header)
        self.reason = "; ".join(reasons) or reason

    def read(self, topics: Collection[str], from_ns: int) -> Iterator[Record]:
        """Messages of these topics from a stamp on."""
        for file in self._files:
            with suppress(DamagedBag):
                for channel, stamp_ns, data in salvage(file):
                    if channel.topic in topics and stamp_ns >= from_ns:
                        yield Record(channel.topic, channel.type, stamp_ns, data)

    def close(self) -> None:
        """Nothing is held open."""


def salvage(path: Path) -> Iterator[Message]:
    """Messages of a .mcap or .db3 file in the order of writing; raises DamagedBag where that breaks off."""
    return _salvage_mcap(path) if path.suffix == ".mcap" else _salvage_sqlite3(path)


def _salvage_sqlite3(path: Path) -> Iterator[Message]:
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        # With this, SQLite opens a file that is shorter than its header says.
        database.execute("PRAGMA writable_schema=ON")
        channels = {
            row[0]: Channel(row[1], row[2], "") for row in database.execute("SELECT id, name, type FROM topics")
        }
        for topic, stamp_ns, data in database.execute("SELECT topic_id, timestamp, data FROM messages"):
            yield channels[topic], stamp_ns, data
        database.close()
    except (sqlite3.Error, KeyError) as error:
        raise DamagedBag(str(error)) from None


def _salvage_mcap(path: Path) -> Iterator[Message]:
    with path.open("rb") as file:
        if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            raise DamagedBag("it does not begin like an MCAP file")
        parser = _McapParser()
        while True:
            head = file.read(9)
            if len(head) < 9:
                raise DamagedBag("it breaks off before its closing record")
            operation, size = struct.unpack("<BQ", head)
            if operation == DATA_END:
                return
            content = file.read(min(size, LARGEST_RECORD))
            complete = len(content) == size
            if complete or operation == CHUNK:
                try:
                    yield from parser.take(operation, content, complete)
                except Exception as error:  # whatever struct, codecs and decompressors make of damaged bytes
                    raise DamagedBag(f"a record is damaged, {error}") from None
            if not complete:
                raise DamagedBag("it breaks off in the middle of a record")


class _McapParser:
    """Collects schemas and channels, and looks up those of messages."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, str]] = {0: ("", "")}
        self._channels: dict[int, Channel] = {}

    def take(self, operation: int, content: bytes, complete: bool = True) -> list[Message]:
        """Messages in a record, in the order of their stamps; of an incomplete chunk those that are there."""
        if operation == SCHEMA:
            name, _, definition = _strings(content, 2, 3)
            self._schemas[_uint16(content, 0)] = (name, definition)
        elif operation == CHANNEL:
            topic, _ = _strings(content, 4, 2)
            self._channels[_uint16(content, 0)] = Channel(topic, *self._schemas[_uint16(content, 2)])
        elif operation == MESSAGE:
            channel, _, stamp_ns = struct.unpack_from("<HIQ", content)
            return [(self._channels[channel], stamp_ns, content[22:])]
        elif operation == CHUNK:
            records = _records(_decompressed_chunk(content, complete))
            messages = [message for record in records for message in self.take(*record)]
            return sorted(messages, key=lambda message: message[1])
        return []


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The complete records at the front of ``data``."""
    position = 0
    while position + 9 <= len(data):
        operation, size = struct.unpack_from("<BQ", data, position)
        position += 9
        if position + size > len(data):
            return
        yield operation, data[position : position + size]
        position += size


def _decompressed_chunk(content: bytes, complete: bool) -> bytes:
    """Records inside a chunk record; as far as they go when it is not complete."""
    (checksum,) = struct.unpack_from("<I", content, 24)
    (compression,) = _strings(content, 28, 1)
    packed = content[40 + len(compression) :]
    if compression == "lz4":
        import lz4.frame

        data = lz4.frame.LZ4FrameDecompressor().decompress(packed)
    elif compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        data = zstd.ZstdDecompressor().decompress(packed)
    else:
        data = packed
    if complete and checksum and crc32(data) != checksum:
        raise ValueError("its checksum is wrong")
    return data


def _uint16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")


def _strings(data: bytes, offset: int, count: int) -> list[str]:
    """``count`` length-prefixed strings, one after the other."""
    strings = []
    for _ in range(count):
        (size,) = struct.unpack_from("<I", data, offset)
        strings.append(data[offset + 4 : offset + 4 + size].decode())
        offset += 4 + size
    return strings
