# SPDX-License-Identifier: Apache-2.0
"""Writes one MCAP file of ROS 2 messages with their definitions inside, for Foxglove and `ros2 bag`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, Nodetype
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from muon_ad_core.errors import UserError


class MessageDefinitions:
    """Finds the .msg files of message types, and of the types they are made of, below ament prefixes."""

    def __init__(self, prefixes: Iterable[Path]) -> None:
        self._prefixes = list(prefixes)
        self.typestore: Typestore = get_typestore(Stores.EMPTY)

    @classmethod
    def from_environment(cls) -> MessageDefinitions:
        """The definitions in the folders of AMENT_PREFIX_PATH."""
        return cls(Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry)

    def add(self, message_type: str) -> None:
        """Take `message_type` ("sensor_msgs/msg/Image") into the typestore.

        Raises:
            UserError: no prefix holds the type's .msg file.
        """
        if message_type in self.typestore.fielddefs:
            return
        types = get_types_from_msg(self._read(message_type), message_type)
        self.typestore.register(types)
        for _, fields in types.values():
            for _, field in fields:
                for part in _message_types(field):
                    self.add(part)

    def _read(self, message_type: str) -> str:
        package, _, name = message_type.split("/")
        for prefix in self._prefixes:
            path = prefix / "share" / package / "msg" / f"{name}.msg"
            if path.is_file():
                return path.read_text(encoding="utf-8")
        raise UserError(f"the definition of {message_type} is not below AMENT_PREFIX_PATH: source its workspace")


class McapFile:
    """An MCAP file being written; it appears under its name when it is closed."""

    def __init__(self, path: Path, definitions: MessageDefinitions) -> None:
        """Open `path` for writing; raises UserError when it exists or its folder cannot be written."""
        if path.exists():
            raise UserError(f"{path} exists already: name another output, or remove it first")
        self._path = path
        self._folder = path.with_suffix(".partial")  # the library writes a folder, with a file of that name in it
        self._definitions = definitions
        self._connections: dict[str, Connection] = {}
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = Writer(self._folder, version=9, storage_plugin=StoragePlugin.MCAP)
        try:
            self._writer.open()
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None

    def write(self, topic: str, message_type: str, time_ns: int, data: bytes) -> None:
        """Add one CDR-encoded message that was received at `time_ns`."""
        connection = self._connections.get(topic)
        if connection is None:
            self._definitions.add(message_type)
            connection = self._writer.add_connection(topic, message_type, typestore=self._definitions.typestore)
            self._connections[topic] = connection
        self._writer.write(connection, time_ns, data)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._writer.close()
        (self._folder / f"{self._folder.name}.mcap").replace(self._path)
        shutil.rmtree(self._folder)


def _message_types(field: Any) -> list[str]:
    """The message type a parsed field consists of, as a list of none or one."""
    node, content = field
    if node == Nodetype.NAME:
        return [content]
    return [] if node == Nodetype.BASE else _message_types(content[0])
