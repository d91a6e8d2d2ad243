# SPDX-License-Identifier: Apache-2.0
"""Recordings written by rosbags come back message by message; damaged ones as far as they are readable."""

import struct
from itertools import islice
from pathlib import Path

import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from muon_ad_core.errors import ParameterError, SourceError
from muon_ad_core.sources.bag import BagReader
from muon_ad_core.sources.bag_types import restamped

TYPES = get_typestore(Stores.ROS2_JAZZY)
Image = TYPES.types["sensor_msgs/msg/Image"]
Header = TYPES.types["std_msgs/msg/Header"]
Time = TYPES.types["builtin_interfaces/msg/Time"]
Text = TYPES.types["std_msgs/msg/String"]

START = 1_700_000_000_000_000_000
PERIOD = 50_000_000
COUNT = 40
FORMATS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
NEVER = QosTime(0, 0)
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    NEVER,
    NEVER,
    QosLiveliness.AUTOMATIC,
    NEVER,
    False,
)


def image(index: int) -> bytes:
    import numpy as np

    stamp = START + index * PERIOD - 7_000_000
    header = Header(Time(stamp // 10**9, stamp % 10**9), "camera")
    pixels = np.random.default_rng(index).integers(0, 255, 3 * 100 * 100, dtype=np.uint8)
    return bytes(TYPES.serialize_cdr(Image(header, 100, 100, "rgb8", 0, 300, pixels), "sensor_msgs/msg/Image"))


def record(path: Path, storage: str, compression: CompressionMode | None = None) -> Path:
    """COUNT images on /color and every tenth time a string on /note, 1 ms later."""
    writer = Writer(path, version=9, storage_plugin=FORMATS[storage])
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        color = writer.add_connection("/color", "sensor_msgs/msg/Image", typestore=TYPES)
        note = writer.add_connection("/note", "std_msgs/msg/String", typestore=TYPES, offered_qos_profiles=[LATCHED])
        for index in range(COUNT):
            writer.write(color, START + index * PERIOD, image(index))
            if index % 10 == 0:
                text = TYPES.serialize_cdr(Text(f"note {index}"), "std_msgs/msg/String")
                writer.write(note, START + index * PERIOD + 1_000_000, text)
    return path


def storage_file(recording: Path) -> Path:
    (file,) = (file for file in recording.iterdir() if file.suffix in {".mcap", ".db3"})
    return file


def truncate(file: Path, part: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(part * len(data))])


@pytest.fixture(params=FORMATS)
def recording(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return record(tmp_path / "drive", request.param)


def test_topics_and_span(recording: Path) -> None:
    reader = BagReader(recording)
    color, note = reader.topics["/color"], reader.topics["/note"]
    assert (color.type, color.count, color.has_header) == ("sensor_msgs/msg/Image", COUNT, True)
    assert (note.type, note.count, note.has_header) == ("std_msgs/msg/String", 4, False)
    assert note.transient_local and not color.transient_local
    assert reader.start_ns == START
    assert reader.duration_ns == (COUNT - 1) * PERIOD
    assert reader.damage == ""


def test_messages_come_back_in_order(recording: Path) -> None:
    messages = list(BagReader(recording).messages())
    assert [message.stamp_ns for message in messages] == sorted(message.stamp_ns for message in messages)
    images = [message for message in messages if message.topic == "/color"]
    assert len(messages) == COUNT + 4
    assert [message.data for message in images] == [image(index) for index in range(COUNT)]
    assert {message.type for message in images} == {"sensor_msgs/msg/Image"}


def test_a_storage_file_alone_is_a_recording_too(recording: Path) -> None:
    reader = BagReader(storage_file(recording))
    assert len(list(reader.messages())) == COUNT + 4
    assert reader.damage == ""


def test_topic_filter_and_start_offset(recording: Path) -> None:
    reader = BagReader(recording)
    messages = list(reader.messages(topics=["/note"], start_offset=0.6))
    assert [message.stamp_ns for message in messages] == [START + index * PERIOD + 1_000_000 for index in (20, 30)]
    with pytest.raises(SourceError, match="has no topic /depth: choose from /color, /note"):
        reader.messages(topics=["/depth"])
    with pytest.raises(ParameterError, match="start offset must be within 0..1.95 s, but is 3 s"):
        reader.messages(start_offset=3.0)


def test_a_loop_starts_again_at_the_offset_and_counts_rounds(recording: Path) -> None:
    messages = list(islice(BagReader(recording).messages(["/note"], start_offset=0.6, loop=True), 5))
    indices = [(message.stamp_ns - START) // PERIOD for message in messages]
    assert indices == [20, 30, 20, 30, 20]
    assert [message.round for message in messages] == [0, 0, 1, 1, 2]


def test_nothing_left_to_play_is_an_error_even_in_a_loop(recording: Path) -> None:
    messages = BagReader(recording).messages(["/note"], start_offset=1.9, loop=True)
    with pytest.raises(SourceError, match="no messages of the chosen topics"):
        next(messages)


@pytest.mark.parametrize("compression", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_recordings(tmp_path: Path, compression: CompressionMode) -> None:
    reader = BagReader(record(tmp_path / "drive", "sqlite3", compression))
    assert [m.data for m in reader.messages(["/color"])] == [image(index) for index in range(COUNT)]


@pytest.mark.parametrize("part", [0.9, 0.5, 0.2])
def test_a_truncated_recording_is_read_up_to_the_damage(recording: Path, part: float) -> None:
    truncate(storage_file(recording), part)
    reader = BagReader(recording)
    assert str(recording) in reader.damage and "damaged" in reader.damage and "\n" not in reader.damage
    images = [message.data for message in reader.messages(["/color"])]
    assert images == [image(index) for index in range(len(images))]
    assert part - 0.15 < len(images) / COUNT <= part
    assert reader.topics["/color"].count == len(images)
    assert reader.topics["/color"].has_header and reader.topics["/color"].type == "sensor_msgs/msg/Image"
    assert reader.duration_ns <= (len(images) - 1) * PERIOD + 1_000_000
    looped = islice(reader.messages(["/color"], loop=True), 2 * len(images))
    assert [message.data for message in looped] == 2 * images


def test_a_truncated_compressed_chunk_gives_what_can_be_decompressed(tmp_path: Path) -> None:
    recording = record(tmp_path / "drive", "mcap", CompressionMode.STORAGE)
    truncate(storage_file(recording), 0.5)
    reader = BagReader(recording)
    images = [message.data for message in reader.messages(["/color"])]
    assert images == [image(index) for index in range(len(images))]
    assert len(images) >= 10


def test_a_recorder_that_was_killed_leaves_no_metadata(recording: Path) -> None:
    (recording / "metadata.yaml").unlink()
    reader = BagReader(recording)
    assert "metadata.yaml" in reader.damage
    assert len(list(reader.messages())) == COUNT + 4


def test_damage_under_an_intact_index_is_reported(tmp_path: Path) -> None:
    file = storage_file(record(tmp_path / "drive", "mcap"))
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40_000] = bytes(40_000)
    file.write_bytes(data)
    reader = BagReader(file)
    images = [message.data for message in reader.messages(["/color"])]
    assert 0 < len(images) < COUNT
    assert reader.damage == f"{file} is damaged: {COUNT - len(images)} of {COUNT} messages are missing"


def test_nothing_readable_under_an_intact_index_is_an_error(tmp_path: Path) -> None:
    file = storage_file(record(tmp_path / "drive", "mcap", CompressionMode.STORAGE))
    data = bytearray(file.read_bytes())
    packed = data.index(b"zstd") + 12
    data[packed : packed + 20] = bytes(20)
    file.write_bytes(data)
    with pytest.raises(SourceError, match=r"drive.mcap is damaged \(.*\): it is played up to there"):
        list(BagReader(file).messages(loop=True))


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize("content", [b"", b"no recording at all " * 500])
def test_what_is_no_recording_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"drive{suffix}"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=f"drive{suffix} cannot be read as a recording") as error:
        BagReader(path)
    assert "\n" not in str(error.value)


def test_missing_empty_and_ros_1_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no recording"):
        BagReader(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="cannot be read as a recording"):
        BagReader(tmp_path)
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(SourceError, match="cannot be read as a recording"):
        BagReader(tmp_path / "old.bag")
    with Writer(tmp_path / "empty", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection("/color", "sensor_msgs/msg/Image", typestore=TYPES)
    with pytest.raises(SourceError, match="without messages"):
        BagReader(tmp_path / "empty")


def test_restamped_changes_the_stamp_only() -> None:
    message = TYPES.deserialize_cdr(restamped(image(3), 12_000_000_034), "sensor_msgs/msg/Image")
    original = TYPES.deserialize_cdr(image(3), "sensor_msgs/msg/Image")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)
    assert message.header.frame_id == original.header.frame_id
    assert (message.data == original.data).all() and message.step == original.step


def test_restamped_keeps_the_byte_order() -> None:
    assert (
        restamped(b"\0\0\0\0" + bytes(8) + b"rest", 5_000_000_006) == b"\0\0\0\0" + struct.pack(">iI", 5, 6) + b"rest"
    )
