# SPDX-License-Identifier: Apache-2.0
"""Capture sources: the test pattern, stamps of V4L2 buffers, GStreamer pipelines where the bindings are."""

from __future__ import annotations

import time

import numpy as np
import pytest

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.capture import open_capture_source
from muon_ad_core.sources.capture.base import CaptureMode, host_time
from muon_ad_core.sources.capture.gstreamer import argus_pipeline, load_gstreamer
from muon_ad_core.sources.capture.v4l2 import OLDEST_NS, buffer_time

MODE = CaptureMode(160, 120, 100.0)


def test_the_pattern_moves_at_exact_instants() -> None:
    source = open_capture_source("pattern", MODE)
    pictures = []
    for _ in range(4):
        picture = source.read()
        pictures.append((picture.number, picture.stamp_ns, picture.arrival_ns, picture.rgb.copy()))
    numbers, stamps, arrivals, pixels = zip(*pictures)
    assert numbers == (1, 2, 3, 4)
    assert np.diff(stamps) == pytest.approx(10_000_000, abs=2_000_000)
    assert all(stamp <= arrival for stamp, arrival in zip(stamps, arrivals))
    assert pixels[0].shape == (120, 160, 3)
    assert not np.array_equal(pixels[0], pixels[3])


def test_a_buffer_stamp_is_believed_only_if_the_steady_clock_can_have_made_it() -> None:
    now_ns = time.monotonic_ns()
    assert buffer_time((now_ns - 30_000_000) / 1e6, now_ns) == pytest.approx(now_ns - 30_000_000, abs=1000)
    assert buffer_time(0.0, now_ns) is None  # the driver does not stamp
    assert buffer_time((now_ns + 10_000_000) / 1e6, now_ns) is None  # of the future
    assert buffer_time((now_ns - OLDEST_NS - 1_000_000) / 1e6, now_ns) is None
    assert buffer_time(time.time() * 1e3, now_ns) is None  # the clock of the day


def test_instants_are_carried_over_to_unix_time_and_never_of_the_future() -> None:
    unix_ns, steady_ns = time.time_ns(), time.monotonic_ns()
    stamp_ns, now_ns = host_time(steady_ns - 40_000_000, time.monotonic_ns)
    assert stamp_ns == pytest.approx(unix_ns - 40_000_000, abs=5_000_000)
    assert unix_ns <= now_ns
    stamp_ns, now_ns = host_time(time.monotonic_ns() + 10**10, time.monotonic_ns)
    assert stamp_ns == now_ns


def test_the_pipeline_of_a_jetson_names_sensor_and_mode() -> None:
    pipeline = argus_pipeline(1, CaptureMode(1280, 720, 29.97))
    assert pipeline.startswith("nvarguscamerasrc sensor-id=1 ! ")
    assert "width=1280,height=720,framerate=29970/1000" in pipeline


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(SourceError, match="there is no camera /dev/video97"):
        open_capture_source("/dev/video97", MODE)


@pytest.fixture
def gstreamer() -> None:
    try:
        load_gstreamer()
    except SourceError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("gstreamer")
def test_a_pipeline_gives_stamped_pictures_in_its_own_size() -> None:
    pipeline = "videotestsrc is-live=true pattern=red ! video/x-raw,width=162,height=120,framerate=50/1"
    source = open_capture_source(pipeline, MODE)
    try:
        assert (source.width, source.height, source.rate) == (162, 120, 50.0)
        pictures = [source.read() for _ in range(5)]
        assert pictures[-1].rgb[60, 80].tolist() == [255, 0, 0]
        assert {picture.provenance for picture in pictures} == {"buffer"}
        assert all(picture.stamp_ns <= picture.arrival_ns for picture in pictures)
        numbers = [picture.number for picture in pictures]
        stamps = [picture.stamp_ns for picture in pictures]
        assert numbers == sorted(set(numbers))
        assert np.median(np.diff(stamps) / np.diff(numbers)) == pytest.approx(20_000_000, abs=2_000_000)
    finally:
        source.close()


@pytest.mark.usefixtures("gstreamer")
def test_a_pipeline_that_cannot_be_is_one_sentence() -> None:
    with pytest.raises(SourceError, match="GStreamer cannot make the pipeline 'nosuchsrc ! identity'"):
        open_capture_source("nosuchsrc ! identity", MODE)
    with pytest.raises(SourceError, match="delivers no pictures"):
        open_capture_source("filesrc location=/nonexistent ! rawvideoparse width=16 height=16", MODE)
