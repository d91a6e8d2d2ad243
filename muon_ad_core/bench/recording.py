# SPDX-License-Identifier: Apache-2.0
"""Read a recording of the joint task back: what passed when, as plain rows, and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader, AnyReaderError

from muon_ad_core.bench.tour import MEASURING
from muon_ad_core.detect.detector import Detections
from muon_ad_core.errors import SourceError

FrameKey = tuple[int, str]
"""Stamp in nanoseconds and frame_id: they identify a frame on its way, whatever is dropped between."""

STAGES = ("transport", "wait", "convert", "infer", "publish")
COLOR_PICTURES = "color/image_raw/compressed"
STYLIZED_PICTURES = "stylized/image_raw/compressed"
DETECTIONS = "detections"
NANOSECONDS = 1_000_000_000
FOREIGN_CLOCK_NS = 10 * NANOSECONDS  # a stamp further from its arrival was made by another clock


@dataclass(frozen=True)
class Timing:
    """One row of a worker's ~/timing; times in milliseconds, from the frame's stamp on."""

    key: FrameKey
    total_ms: float
    stages: dict[str, float]
    deadline_missed: bool = False
    sequence: int = 0
    level: str = ""


@dataclass(frozen=True)
class Status:
    """One row of a node's ~/status; counters run since the node's start."""

    at_ns: int
    node: str
    role: str
    engine: str = ""
    backend: str = ""
    level: str = ""
    asked: str = ""
    granted: str = ""
    reason: str = ""
    deadline_ms: float = 0.0
    frames_in: int = 0
    frames_out: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    rss_mb: float = 0.0
    imports_torch: bool = False


@dataclass(frozen=True)
class Change:
    """A parameter of a node was set."""

    at_ns: int
    node: str
    parameter: str
    value: Any


@dataclass
class JointRecording:
    """All of a recording but the pictures; instants and arrivals (at the recorder) are nanoseconds of the system clock.

    A frame's instant is its stamp, so that a recorder that lags behind misplaces nothing; where another clock made
    the stamp, it is the arrival of the first message about the frame.
    """

    frames: dict[FrameKey, int] = field(default_factory=dict)  # instant of every frame that any message was about
    stylized: dict[FrameKey, int] = field(default_factory=dict)  # arrival of the stylised picture
    stylized_info: dict[FrameKey, int] = field(default_factory=dict)  # arrival of its calibration
    detections: dict[FrameKey, int] = field(default_factory=dict)  # arrival of the detections
    style_timings: list[Timing] = field(default_factory=list)
    detection_timings: list[Timing] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    picture_size: tuple[int, int] | None = None  # width and height

    def window(self) -> tuple[int, int] | None:
        """When the measured time began and ended (at the last frame if unmarked); None when it did not."""
        marks = [change for change in self.changes if change.parameter == MEASURING]
        begin = next((mark.at_ns for mark in marks if mark.value), None)
        if begin is None:
            return None
        last = max([begin, *self.frames.values()])
        return begin, next((mark.at_ns for mark in marks if not mark.value and mark.at_ns > begin), last)


class RecordingReader:
    """Reads a recording file; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError when `path` is not a readable recording."""
        try:
            self._reader = AnyReader([path])
            self._reader.open()
        except (AnyReaderError, OSError) as error:
            raise SourceError(f"{path} cannot be read as a recording ({error}): record it again") from None

    def __enter__(self) -> RecordingReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def read(self) -> JointRecording:
        """All rows; pictures are skipped."""
        recording = JointRecording()
        skipped = (COLOR_PICTURES, STYLIZED_PICTURES)
        for topic, at_ns, message in self._messages(lambda topic: not topic.endswith(skipped)):
            _take(recording, topic, at_ns, message)
        return recording

    def pictures(self, *topics: str) -> Iterator[tuple[str, FrameKey, NDArray[np.uint8]]]:
        """JPEG pictures in the order of their arrival, as (one of `topics`, key of the frame, bytes)."""
        for topic, _, message in self._messages(lambda topic: topic.endswith(topics)):
            yield (
                next(name for name in topics if topic.endswith(name)),
                frame_key(message.header),
                message.data,
            )

    def detections(self) -> Iterator[tuple[FrameKey, Detections, list[str]]]:
        """What was detected in each frame, with the names that its labels index."""
        classes: list[str] = []
        for _, _, message in self._messages(lambda topic: topic.endswith(f"/{DETECTIONS}")):
            yield frame_key(message.header), _detections(message.detections, classes), classes

    def _messages(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, Any]]:
        connections = [connection for connection in self._reader.connections if wanted(connection.topic)]
        if not connections:  # for the library, an empty list means all
            return
        for connection, at_ns, data in self._reader.messages(connections):
            yield connection.topic, at_ns, self._reader.deserialize(data, connection.msgtype)


def frame_key(header: Any) -> FrameKey:
    """The key of the frame a message with `header` belongs to."""
    return header.stamp.sec * NANOSECONDS + header.stamp.nanosec, header.frame_id


def decode_jpeg(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB picture, height x width x 3; raises ValueError when `data` is no picture."""
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("not a JPEG picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _take(recording: JointRecording, topic: str, at_ns: int, message: Any) -> None:
    """Add one message to the rows."""
    kind = next((kind for kind in _TAKERS if topic.endswith(kind)), None)
    if kind is None:
        return
    if kind in _ABOUT_FRAMES:
        header = getattr(message, "header", message)  # of a picture, the header alone is recorded
        key = frame_key(header)
        recording.frames.setdefault(key, key[0] if abs(key[0] - at_ns) < FOREIGN_CLOCK_NS else at_ns)
    _TAKERS[kind](recording, at_ns, message)


def _take_camera_info(recording: JointRecording, at_ns: int, message: Any) -> None:
    recording.picture_size = (message.width, message.height)


def _take_stylized(recording: JointRecording, at_ns: int, message: Any) -> None:
    recording.stylized.setdefault(frame_key(message), at_ns)


def _take_stylized_info(recording: JointRecording, at_ns: int, message: Any) -> None:
    recording.stylized_info.setdefault(frame_key(message.header), at_ns)


def _take_detections(recording: JointRecording, at_ns: int, message: Any) -> None:
    recording.detections.setdefault(frame_key(message.header), at_ns)


def _take_status(recording: JointRecording, at_ns: int, message: Any) -> None:
    priority = f" {message.priority_granted}" if message.priority_granted else ""
    recording.statuses.append(
        Status(
            at_ns=at_ns,
            node=message.name,
            role=message.role,
            engine=message.engine,
            backend=message.backend,
            level=message.level,
            asked=message.policy_asked,
            granted=message.policy_granted + priority,
            reason=message.policy_reason,
            deadline_ms=message.deadline_ms,
            frames_in=message.frames_in,
            frames_out=message.frames_out,
            drops=dict(zip(message.drop_causes, map(int, message.drop_counts))),
            rss_mb=message.rss_mb,
            imports_torch=message.imports_torch,
        )
    )


def _take_parameter_event(recording: JointRecording, at_ns: int, message: Any) -> None:
    stamp_ns = message.stamp.sec * NANOSECONDS + message.stamp.nanosec
    for parameter in [*message.new_parameters, *message.changed_parameters]:
        value = _parameter_value(parameter.value)
        recording.changes.append(Change(stamp_ns, message.node, parameter.name, value))


def _timing(message: Any) -> Timing:
    return Timing(
        key=frame_key(message.header),
        total_ms=float(message.total_ms),
        stages={stage: float(getattr(message, f"{stage}_ms")) for stage in STAGES},
        deadline_missed=bool(message.deadline_missed),
        sequence=int(message.sequence),
        level=message.level,
    )


_ABOUT_FRAMES: dict[str, Callable[[JointRecording, int, Any], None]] = {
    "color/image_raw/header": lambda rows, at_ns, message: None,
    "color/camera_info": _take_camera_info,
    "stylized/image_raw/header": _take_stylized,
    "stylized/camera_info": _take_stylized_info,
    f"/{DETECTIONS}": _take_detections,
    "style_transfer/timing": lambda rows, at_ns, message: rows.style_timings.append(_timing(message)),
    "detector/timing": lambda rows, at_ns, message: rows.detection_timings.append(_timing(message)),
}
_TAKERS = _ABOUT_FRAMES | {
    "scheduler/status": lambda rows, at_ns, message: None,  # repeats the workers' own
    "/status": _take_status,
    "/parameter_events": _take_parameter_event,
}
"""What to do with the messages of a topic that ends so; the first that fits counts."""


def _parameter_value(value: Any) -> Any:
    """The value in a rcl_interfaces/ParameterValue, by its type number there."""
    fields = ["", "bool", "integer", "double", "string", "byte_array", "bool_array"]
    fields += ["integer_array", "double_array", "string_array"]
    if not 0 < value.type < len(fields):
        return None
    plain = getattr(value, f"{fields[value.type]}_value")
    return plain.tolist() if isinstance(plain, np.ndarray) else plain


def _detections(entries: Any, classes: list[str]) -> Detections:
    """A vision_msgs/Detection2DArray's entries; class names that are not in `classes` yet are added there."""
    boxes, scores, labels = [], [], []
    for entry in entries:
        best = entry.results[0].hypothesis
        if best.class_id not in classes:
            classes.append(best.class_id)
        center, half = entry.bbox.center.position, (entry.bbox.size_x / 2, entry.bbox.size_y / 2)
        boxes.append((center.x - half[0], center.y - half[1], center.x + half[0], center.y + half[1]))
        scores.append(best.score)
        labels.append(classes.index(best.class_id))
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
    )
