# SPDX-License-Identifier: Apache-2.0
"""Reads recordings of rosbag2 (MCAP, sqlite3) without ROS: raw messages, of damaged ones what is readable."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple, cast

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat, QosDurability
from rosbags.rosbag2 import Reader

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.sources.bag_salvage import DamagedBag, SalvagedBag
from muon_ad_core.sources.bag_types import Record, Topic, begins_with_header
from muon_ad_core.sources.base import NANOSECONDS
from muon_ad_core.sources.natural import natural_order

STORAGE_SUFFIXES = (".mcap", ".db3")


class BagMessage(NamedTuple):
    """A recorded message, see ``Record``; ``round`` is 0 the first time through the recording, then 1, ..."""

    topic: str
    type: str
    stamp_ns: int
    data: bytes
    round: int


class IntactBag:
    """A recording that rosbags can open. Raises whatever rosbags does when it is damaged."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path)
        self._reader.open()
        self.topics: dict[str, Topic] = {}
        for connection in self._reader.connections:
            known = self.topics.get(connection.topic)
            self.topics[connection.topic] = _describe(connection, known.count if known else 0)
        self.start_ns, self.end_ns = self._reader.start_time, self._reader.end_time - 1

    def read(self, topics: Collection[str], from_ns: int) -> Iterator[Record]:
        """Messages of these topics from a stamp on, in the order of their stamps."""
        connections = [connection for connection in self._reader.connections if connection.topic in topics]
        for connection, stamp_ns, data in self._reader.messages(connections, start=from_ns):
            yield Record(connection.topic, connection.msgtype, stamp_ns, data)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()


def _describe(connection: Connection, count_so_far: int) -> Topic:
    definition = connection.msgdef.data if connection.msgdef.format == MessageDefinitionFormat.MSG else ""
    profiles = cast(ConnectionExtRosbag2, connection.ext).offered_qos_profiles
    return Topic(
        connection.msgtype,
        count_so_far + connection.msgcount,
        begins_with_header(connection.msgtype, definition),
        any(profile.durability == QosDurability.TRANSIENT_LOCAL for profile in profiles),
    )


class BagReader:
    """A recording: ``topics`` by name, ``start_ns`` and ``end_ns`` (stamps of its first and last message).

    ``damage`` is empty, or one sentence on what cannot be read; it can fill while messages are read.
    """

    def __init__(self, path: str | Path) -> None:
        """``path``: folder of a recording, or one of its .mcap or .db3 files.

        Raises SourceError when no message can be read.
        """
        self.path = Path(path)
        self.damage = ""
        self._bag = self._open()
        self.topics = self._bag.topics
        self.start_ns, self.end_ns = self._bag.start_ns, self._bag.end_ns

    @property
    def duration_ns(self) -> int:
        """Time from the first message to the last."""
        return self.end_ns - self.start_ns

    def messages(
        self, topics: Collection[str] | None = None, start_offset: float = 0.0, loop: bool = False
    ) -> Iterator[BagMessage]:
        """Messages in the order of their stamps (of a damaged recording: as written).

        topics: only these. start_offset: seconds to skip in every round. loop: start again, without end.
        Raises SourceError for topics it does not have and when nothing is left to play, ParameterError for
        an offset beyond its end.
        """
        chosen = set(self.topics if topics is None else topics)
        if unknown := chosen - self.topics.keys():
            names, known = ", ".join(sorted(unknown)), ", ".join(self.topics)
            raise SourceError(f"{self.path} has no topic {names}: choose from {known}")
        if not 0.0 <= start_offset * NANOSECONDS <= self.duration_ns:
            seconds = self.duration_ns / NANOSECONDS
            raise ParameterError(f"the start offset must be within 0..{seconds:g} s, but is {start_offset:g} s")
        return self._rounds(chosen, self.start_ns + round(start_offset * NANOSECONDS), loop)

    def close(self) -> None:
        """Close the files."""
        self._bag.close()

    def _open(self) -> IntactBag | SalvagedBag:
        if not self.path.exists():
            raise SourceError(f"there is no recording {self.path}: name its folder, or its .mcap or .db3 file")
        files = [self.path] if self.path.is_file() else sorted(self.path.iterdir(), key=natural_order)
        files = [file for file in files if file.suffix in STORAGE_SUFFIXES]
        bag: IntactBag | SalvagedBag
        try:
            if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
                raise DamagedBag("metadata.yaml is missing, as after a recorder that was killed")
            bag = IntactBag(self.path)
        except Exception as error:  # rosbags lets through what struct, sqlite and yaml make of damaged files
            bag = SalvagedBag(files, str(error))
            self.damage = f"{self.path} is damaged ({bag.reason}): only what is readable of it is played"
            if not bag.topics:
                raise SourceError(
                    f"{self.path} cannot be read as a recording ({bag.reason}): was it copied in full?"
                ) from None
        if not any(topic.count for topic in bag.topics.values()):
            raise SourceError(f"{self.path} is a recording without messages")
        return bag

    def _rounds(self, topics: Collection[str], from_ns: int, loop: bool) -> Iterator[BagMessage]:
        announced = sum(self.topics[topic].count for topic in topics) if from_ns <= self.start_ns else 0
        for number in count():
            read = 0
            try:
                for message in self._bag.read(topics, from_ns):
                    yield BagMessage(*message, number)
                    read += 1
                if read < announced:
                    self.damage = f"{self.path} is damaged: {announced - read} of {announced} messages are missing"
            except Exception as error:  # as in _open
                self.damage = f"{self.path} is damaged ({error}): it is played up to there"
            if not read:
                raise SourceError(self.damage or f"{self.path} has no messages of the chosen topics after the offset")
            if not loop:
                return
