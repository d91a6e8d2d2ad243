# SPDX-License-Identifier: Apache-2.0
"""A camera behind a GStreamer pipeline, with the time stamps of its buffers."""

from __future__ import annotations

from typing import Any

import numpy as np

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.capture.base import BUFFER, UNSTAMPED_NS, CapturedPicture, CaptureMode, host_time
from muon_ad_core.timing.clock import ARRIVAL

PATIENCE = 5
"""Seconds to wait for a picture."""
NONE = 2**64 - 1
"""GST_CLOCK_TIME_NONE and GST_BUFFER_OFFSET_NONE."""
SINK = "videoconvert ! video/x-raw,format=RGB ! appsink name=sink max-buffers=2 drop=true sync=false"


def argus_pipeline(sensor: int, mode: CaptureMode) -> str:
    """Pipeline of CSI camera `sensor` of a Jetson, through its image signal processor."""
    size = f"width={mode.width},height={mode.height}"
    return (
        f"nvarguscamerasrc sensor-id={sensor} "
        f"! video/x-raw(memory:NVMM),{size},framerate={round(mode.rate * 1000)}/1000 "
        f"! nvvidconv ! video/x-raw,format=BGRx"
    )


class GStreamerSource:
    """Frames at the end of a pipeline, which has to produce raw video.

    A buffer's stamp is the time of the pipeline's clock at which the source element says it was captured: of v4l2src
    the driver's stamp, of nvarguscamerasrc that of the camera stack.
    """

    def __init__(self, pipeline: str, mode: CaptureMode) -> None:
        """Raises SourceError when GStreamer's Python bindings are missing or the pipeline does not start."""
        self.name = pipeline.split(" ! ")[0]
        self._gst = load_gstreamer()
        try:
            self._pipeline = self._gst.parse_launch(f"{pipeline} ! {SINK}")
        except Exception as error:  # GLib.Error, which exists only where GStreamer does
            raise SourceError(f"GStreamer cannot make the pipeline '{pipeline}': {error}") from None
        self._sink = self._pipeline.get_by_name("sink")
        self.width, self.height, self.rate = mode.width, mode.height, mode.rate
        self._count = 0
        self._pipeline.set_state(self._gst.State.PLAYING)
        try:
            self._take_mode(self._pull())
        except SourceError:
            self.close()
            raise

    def read(self) -> CapturedPicture:
        sample = self._pull()
        buffer = sample.get_buffer()
        clock = self._pipeline.get_clock()
        stamped = buffer.pts != NONE
        taken_ns = self._pipeline.get_base_time() + buffer.pts if stamped else clock.get_time()
        stamp_ns, arrival_ns = host_time(taken_ns, clock.get_time)
        mapped, memory = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise SourceError(f"a picture of {self.name} cannot be read")
        try:
            rows = np.frombuffer(memory.data, np.uint8).reshape(self.height, -1)  # rows may be padded
            rgb = rows[:, : 3 * self.width].reshape(self.height, self.width, 3)
        finally:
            buffer.unmap(memory)
        self._count += 1
        number = self._count if buffer.offset == NONE else buffer.offset
        provenance = BUFFER if stamped else ARRIVAL
        uncertainty_ns = round(1e9 / self.rate) if stamped else UNSTAMPED_NS
        return CapturedPicture(rgb, number, stamp_ns, arrival_ns, provenance, uncertainty_ns)

    def close(self) -> None:
        self._pipeline.set_state(self._gst.State.NULL)

    def _pull(self) -> Any:
        sample = self._sink.try_pull_sample(PATIENCE * self._gst.SECOND)
        if sample is None:
            raise SourceError(f"{self.name} delivers no pictures{self._complaint()}")
        return sample

    def _complaint(self) -> str:
        """What the pipeline says is wrong."""
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        return f": {message.parse_error()[0].message}" if message is not None else ""

    def _take_mode(self, sample: Any) -> None:
        structure = sample.get_caps().get_structure(0)
        self.width, self.height = structure.get_int("width")[1], structure.get_int("height")[1]
        known, numerator, denominator = structure.get_fraction("framerate")
        if known and numerator:
            self.rate = numerator / denominator


def load_gstreamer() -> Any:
    """The module Gst, ready for use. Raises SourceError with the remedy when it is missing."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")  # gives appsink its methods
        from gi.repository import Gst, GstApp  # noqa: F401
    except (ImportError, ValueError):
        raise SourceError(
            "GStreamer's Python bindings are missing: run 'sudo apt-get install -y python3-gi "
            "gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base', and use a virtual environment with "
            "--system-site-packages"
        ) from None
    Gst.init(None)
    return Gst
