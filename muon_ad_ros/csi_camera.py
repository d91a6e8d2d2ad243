# SPDX-License-Identifier: Apache-2.0
"""Node csi_camera: a CSI or USB camera by GStreamer or V4L2, with capture stamps and a calibration from a file."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from muon_ad_msgs.msg import FrameMetadata
from sensor_msgs.msg import CameraInfo

from muon_ad_core.errors import SourceError
from muon_ad_core.sources.calibration import load_calibration
from muon_ad_core.sources.capture import ARGUS, AUTO, PATTERN, open_capture_source
from muon_ad_core.sources.capture.base import CapturedPicture, CaptureMode, CaptureSource
from muon_ad_core.sources.numbers import NumberCounter

from .camera import CSI_FRAME
from .camera_info import calibration_message
from .captured_stream import CapturedStream
from .managed import run_node
from .parameters import ParameterSpec
from .reporting import ReportingNode
from .status import to_stamp

LOOK_AGAIN = 1.0  # seconds between attempts to open a camera that failed

_REOPEN = "clean the node up first"
CSI_PARAMETERS = (
    ParameterSpec(
        "source",
        AUTO,
        f"'{ARGUS}' or '{ARGUS}:N' (CSI camera of a Jetson), /dev/videoN, '{PATTERN}', a GStreamer pipeline that "
        f"ends in raw video, or '{AUTO}': {ARGUS} on a Jetson, /dev/video0 elsewhere.",
        fixed=_REOPEN,
    ),
    ParameterSpec("width", 640, "Picture width to ask for, in pixels.", minimum=16, maximum=7680, fixed=_REOPEN),
    ParameterSpec("height", 480, "Picture height to ask for, in pixels.", minimum=16, maximum=4320, fixed=_REOPEN),
    ParameterSpec("rate", 30.0, "Frames a second to ask for.", minimum=0.1, maximum=240.0, fixed=_REOPEN),
    ParameterSpec(
        "calibration", "", "YAML file of camera_calibration; empty: camera_info says uncalibrated.", fixed=_REOPEN
    ),
    ParameterSpec("frame_id", CSI_FRAME, "Frame of the pictures (optical axes).", fixed=_REOPEN),
    ParameterSpec(
        "stamp_offset_ms",
        0.0,
        "Added to every stamp, for example minus half the exposure time; a stamp stays before its arrival.",
        minimum=-1000.0,
        maximum=1000.0,
    ),
)


class CsiCamera(ReportingNode):
    """Publishes the pictures of one camera with the time of their capture."""

    role = "source"

    def __init__(self) -> None:
        super().__init__("csi_camera", CSI_PARAMETERS)
        self._source: CaptureSource | None = None
        self._stream: CapturedStream | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def configure(self) -> None:
        values = self.parameters.values
        self._source = self._open()
        info = self._calibration(self._source)
        self._stream = CapturedStream(self, "csi/image_raw", values["frame_id"], "rgb8", info)
        source = self._source
        self.get_logger().info(f"{source.name}: {source.width}x{source.height} at {source.rate:g} Hz")

    def activate(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        self.policy.keep()

    def deactivate(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def cleanup(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> CaptureSource:
        values = self.parameters.values
        return open_capture_source(values["source"], CaptureMode(values["width"], values["height"], values["rate"]))

    def _calibration(self, source: CaptureSource) -> CameraInfo:
        """As in the file; without one, K is zero, which says uncalibrated. Raises SourceError when it does not fit."""
        path = self.parameters["calibration"]
        if not path:
            return CameraInfo(width=source.width, height=source.height)
        calibration = load_calibration(Path(path))
        if (calibration.width, calibration.height) != (source.width, source.height):
            raise SourceError(
                f"the calibration {path} is for {calibration.width}x{calibration.height}, but the camera gives "
                f"{source.width}x{source.height}: set width and height, or calibrate again"
            )
        return calibration_message(calibration)

    # Pictures, in the node's own thread

    def _run(self) -> None:
        numbers = NumberCounter()
        session = 1
        while not self._stopping.is_set():
            try:
                if self._source is None:
                    self._source = self._open()
                    numbers, session = NumberCounter(), session + 1
                picture = self._source.read()
            except SourceError as error:
                self.complain("camera", f"{error}; trying again")
                self._give_up()
                self._stopping.wait(LOOK_AGAIN)
            else:
                self._publish(picture, numbers.count(picture.number) or 0, session)
                self.went_well()

    def _give_up(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _publish(self, picture: CapturedPicture, missed: int, session: int) -> None:
        assert self._stream is not None
        began = time.monotonic()
        offset_ns = round(self.parameters["stamp_offset_ms"] * 1e6)
        metadata = FrameMetadata(
            number=picture.number,
            missed=missed,
            session=session,
            provenance=picture.provenance,
            uncertainty_ns=picture.uncertainty_ns,
            arrival=to_stamp(picture.arrival_ns),
        )
        stamp_ns = min(picture.stamp_ns + offset_ns, picture.arrival_ns)
        self._stream.publish_captured(picture.rgb, stamp_ns, metadata)
        self.reporter.record((time.monotonic() - began) * 1e3, missed=False)


def main() -> None:
    sys.exit(run_node(CsiCamera))


if __name__ == "__main__":
    main()
