# SPDX-License-Identifier: Apache-2.0
"""The frames of a recording for replay: each picture with the messages of its stamp, as many as fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.bag import BagReader
from muon_ad_ros.bag_topics import COLOR_IMAGE, camera_names
from muon_ad_ros.serialized import header_of


@dataclass
class RecordedFrame:
    """Serialized messages of one stamp by the topic they are played on."""

    stamp_ns: int
    frame_id: str = ""
    messages: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Buffer:
    """Frames ready to be played."""

    frames: list[RecordedFrame]
    types: Mapping[str, str]  # message type of each topic played
    complete: bool  # whether all of the recording's frames are here

    @property
    def rate_hz(self) -> float:
        """Frames a second of the recording, (N - 1) / (last - first); 30 when there is but one."""
        span_ns = self.frames[-1].stamp_ns - self.frames[0].stamp_ns
        return (len(self.frames) - 1) * 1e9 / span_ns if span_ns > 0 else 30.0


def load(path: Path, most_bytes: int) -> Buffer:
    """The first frames of a recording, of any size, that fit in `most_bytes`.

    Raises SourceError when it cannot be read or holds no colour pictures.
    """
    reader = BagReader(path)
    try:
        names = camera_names(reader.topics, {})
        frames: dict[int, RecordedFrame] = {}
        size, complete = 0, True
        for message in reader.messages(names):
            if size + len(message.data) > most_bytes:
                complete = False
                break
            stamp_ns, frame_id = header_of(message.data)
            frame = frames.setdefault(stamp_ns, RecordedFrame(stamp_ns))
            frame.messages[names[message.topic]] = bytes(message.data)
            if names[message.topic] == COLOR_IMAGE:
                frame.frame_id = frame_id
            size += len(message.data)
    finally:
        reader.close()
    pictures = sorted((frame for frame in frames.values() if COLOR_IMAGE in frame.messages), key=lambda f: f.stamp_ns)
    if not pictures:
        raise SourceError(f"{path} holds no picture that fits in {most_bytes / 1e6:g} MB: raise --buffer")
    types = {played: reader.topics[recorded].type for recorded, played in names.items()}
    return Buffer(pictures, types, complete)
