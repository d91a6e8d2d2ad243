# SPDX-License-Identifier: Apache-2.0
"""RealSense cameras on librealsense's software device: the real library, an emulated D415."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muon_ad_core.detect.registration import DepthRegistration
from muon_ad_core.errors import SourceError
from muon_ad_core.sources.numbers import NumberCounter
from muon_ad_core.sources.realsense.library import load_library
from muon_ad_core.sources.realsense.streams import Mode
from muon_ad_core.timing.estimators import TransportDelay

rs = pytest.importorskip("pyrealsense2", reason="pyrealsense2 or its libusb is missing", exc_type=ImportError)

from muon_ad_core.sources.realsense.alignment import DepthAligner  # noqa: E402
from muon_ad_core.sources.realsense.camera import RealSenseCamera  # noqa: E402
from muon_ad_core.sources.realsense.emulated import BASELINE, DELAY_NS, SERIAL, EmulatedD415  # noqa: E402
from muon_ad_core.sources.realsense.frames import DeviceFrame  # noqa: E402
from muon_ad_core.sources.realsense.ports import RecordingPort  # noqa: E402
from muon_ad_core.sources.realsense.stamps import FrameStamper  # noqa: E402

MODE = Mode(320, 240, 30)
STREAMS = ("depth", "color")
DELAYS = dict.fromkeys((*STREAMS, "infra1"), TransportDelay(DELAY_NS))
PATIENCE = 60.0


class Recorder:
    """A camera and all it delivered and complained of."""

    def __init__(self, port: Any, streams: tuple[str, ...] = STREAMS, global_time: bool = False) -> None:
        self.troubles: list[str] = []
        self.frames: list[DeviceFrame] = []
        self.camera = RealSenseCamera(port, "", streams, MODE, global_time, self.troubles.append)
        self.camera.start()

    def collect(self, enough: Callable[[], bool]) -> list[DeviceFrame]:
        """Take frames until there are enough; all so far."""
        deadline = time.monotonic() + PATIENCE
        while not enough():
            assert time.monotonic() < deadline, "the frames do not come"
            frame = self.camera.queue.take(0.2)
            if frame is not None:
                self.frames.append(frame)
        return self.frames

    def of(self, stream: str) -> list[DeviceFrame]:
        return [frame for frame in self.frames if frame.stream == stream]


@pytest.fixture(scope="module")
def port() -> Iterator[EmulatedD415]:
    emulated = EmulatedD415(MODE, first_ticks=2**32 - 4_000_000)  # wraps after four seconds
    yield emulated
    emulated.close()


@pytest.fixture
def record(port: EmulatedD415) -> Iterator[Callable[..., Recorder]]:
    """Start a camera on the emulated D415, freshly plugged in."""
    recorders = []
    port.unplug()
    port.plug()

    def start(*args: Any, **kwargs: Any) -> Recorder:
        recorders.append(Recorder(port, *args, **kwargs))
        return recorders[-1]

    yield start
    for recorder in recorders:
        recorder.camera.stop()


def test_stamps_are_true_also_across_a_wrap(record: Callable[..., Recorder]) -> None:
    recorder = record()
    frames = recorder.collect(lambda: has_wrapped(recorder.of("color")))
    stamper = FrameStamper(STREAMS, DELAYS)
    stamps = [(frame, stamper.stamp(frame)) for frame in frames]
    assert all(stamp.stamp_ns <= frame.arrival_ns for frame, stamp in stamps)
    depth = {frame.number: stamp for frame, stamp in stamps if frame.stream == "depth"}
    color = {frame.number: stamp for frame, stamp in stamps if frame.stream == "color"}
    assert any(stamp.event == "wrap" for stamp in depth.values())
    numbers = sorted(depth)[10:]
    assert {depth[number].provenance for number in numbers} <= {"translated", "held"}
    intervals = np.diff([depth[number].stamp_ns for number in numbers]) / np.diff(numbers)
    assert np.median(intervals) == pytest.approx(1e9 / MODE.rate, rel=0.01)
    later = [color[number].stamp_ns - depth[number].stamp_ns for number in numbers if number in color]
    assert np.median(later) == pytest.approx(2_000_000, abs=50_000)  # as emulated, whatever the transport took


def has_wrapped(frames: list[DeviceFrame]) -> bool:
    """Whether there are 20 frames since the counter wrapped."""
    return sum(frame.ticks < 2**31 for frame in frames) >= 20


def test_a_session_tells_geometry_and_units(record: Callable[..., Recorder], port: EmulatedD415) -> None:
    recorder = record((*STREAMS, "infra1"))
    frames = recorder.collect(lambda: {frame.stream for frame in recorder.frames} == {*STREAMS, "infra1"})
    session = frames[0].session
    assert (session.serial, session.number) == (SERIAL, 1)
    assert session.depth_units == pytest.approx(1e-3)
    assert session.calibrations["color"].k[0] == pytest.approx(port.camera.fx)
    assert session.extrinsics["color"].translation.tolist() == pytest.approx([-BASELINE, 0.0, 0.0])
    shapes = {frame.stream: (frame.pixels().shape, frame.pixels().dtype) for frame in frames}
    assert shapes["color"] == ((240, 320, 3), np.uint8)
    assert shapes["depth"] == ((240, 320), np.uint16)
    assert shapes["infra1"] == ((240, 320), np.uint8)


def test_an_unplugged_camera_is_found_again(record: Callable[..., Recorder], port: EmulatedD415) -> None:
    recorder = record()
    recorder.collect(lambda: len(recorder.of("depth")) >= 5)
    port.unplug()
    recorder.collect(lambda: "it was unplugged" in recorder.troubles)
    port.plug()
    recorder.collect(lambda: recorder.frames[-1].session.number == 2 and recorder.of("depth")[-1].number >= 20)
    for session in (1, 2):
        counters = {stream: NumberCounter() for stream in STREAMS}
        for frame in recorder.frames:
            if frame.session.number == session:
                counters[frame.stream].count(frame.number)
        assert {(counter.repeated, counter.restarts) for counter in counters.values()} == {(0, 0)}


def test_global_time_is_taken_from_the_library(record: Callable[..., Recorder]) -> None:
    recorder = record(global_time=True)
    frames = recorder.collect(lambda: len(recorder.frames) >= 6)
    stamp = FrameStamper(STREAMS, DELAYS).stamp(frames[-1])
    assert (frames[-1].domain, stamp.provenance) == ("global_time", "global_time")
    assert frames[-1].arrival_ns - stamp.stamp_ns >= DELAY_NS - 2_100_000  # colour is exposed 2 ms later


def test_depth_is_aligned_to_colour(record: Callable[..., Recorder], port: EmulatedD415) -> None:
    recorder = record()
    frames = recorder.collect(lambda: bool(set(numbers(recorder, "depth")) & set(numbers(recorder, "color"))))
    number = max(set(numbers(recorder, "depth")) & set(numbers(recorder, "color")))
    depth, color = (next(f for f in frames if (f.stream, f.number) == (stream, number)) for stream in STREAMS)
    aligned = DepthAligner().align(depth, color).astype(float)
    truth = port.true_depth(port.view_of(number)).astype(float)
    both = (aligned > 0) & (truth > 0)
    assert both.mean() > 0.5
    raw = depth.pixels().astype(float)
    error = np.abs(aligned - truth)[both].mean()
    assert error < 0.6 * np.abs(raw - truth)[both & (raw > 0)].mean()

    calibrations, to_color = depth.session.calibrations, depth.session.extrinsics["color"]
    registration = DepthRegistration(
        calibrations["depth"], calibrations["color"], to_color.rotation, to_color.translation
    )
    registered = registration.register(depth.pixels()).astype(float)
    # librealsense paints a depth pixel over up to four colour pixels, and none that reaches beyond the picture.
    assert np.mean((registered > 0) == (aligned > 0)) > 0.9
    known = (registered > 0) & (aligned > 0)
    assert np.mean(np.abs(registered - aligned)[known] <= 0.02 * aligned[known]) > 0.97
    assert np.abs(registered - truth)[known & (truth > 0)].mean() <= error


def numbers(recorder: Recorder, stream: str) -> list[int]:
    return [frame.number for frame in recorder.of(stream)]


def test_a_mode_the_camera_lacks_is_refused_with_those_it_has(port: EmulatedD415) -> None:
    camera = RealSenseCamera(port, "", STREAMS, Mode(640, 480, 60), False, lambda reason: None)
    with pytest.raises(SourceError, match="no depth stream of 640x480 at 60 Hz: it offers 320x240 at 30"):
        camera.start()


def test_an_absent_camera_is_waited_for(port: EmulatedD415) -> None:
    troubles: list[str] = []
    camera = RealSenseCamera(port, "123", STREAMS, MODE, False, troubles.append)
    camera.start()
    camera.stop()
    assert troubles == ["there is no RealSense camera with serial number 123: waiting for it to be plugged in"]


@pytest.mark.parametrize("global_time", [False, True])
def test_a_recording_is_played_once(port: EmulatedD415, tmp_path: Path, global_time: bool) -> None:
    path = tmp_path / "walk.db3"
    record_frames(port, path, 10, global_time)
    played = Recorder(RecordingPort(path))
    played.collect(lambda: "the recording has ended" in played.troubles)
    played.camera.stop()
    assert len(played.of("depth")) >= 5  # the end of the recording cuts off what is on its way
    assert played.frames[0].session.serial == SERIAL
    assert played.of("depth")[0].pixels().any()
    stamp = FrameStamper(STREAMS, DELAYS).stamp(played.of("depth")[0])
    assert stamp.provenance == "translated"
    assert stamp.stamp_ns == played.of("depth")[0].arrival_ns - DELAY_NS  # as if it were taken now


def record_frames(port: EmulatedD415, path: Path, count: int, global_time: bool) -> None:
    """Write a recording by librealsense's own recorder."""
    port.unplug()
    port.plug()
    recorder = rs.recorder(str(path), port.find(""))
    arrived: list[int] = []
    sensors = recorder.query_sensors()
    for sensor in sensors:
        sensor.set_option(rs.option.global_time_enabled, float(global_time))
        sensor.open(sensor.get_stream_profiles())
        sensor.start(lambda frame: arrived.append(frame.get_profile().stream_type()))
    deadline = time.monotonic() + PATIENCE
    while arrived.count(rs.stream.depth) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    for sensor in sensors:
        sensor.stop()
        sensor.close()


def test_files_that_are_no_recordings_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no RealSense recording"):
        RecordingPort(tmp_path / "nowhere.db3")
    (tmp_path / "text.db3").write_text("no recording")
    with pytest.raises(SourceError, match="cannot be played as a RealSense recording"):
        RecordingPort(tmp_path / "text.db3")


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(SourceError, match="run 'pip install pyrealsense2'"):
        load_library()
