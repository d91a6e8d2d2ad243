# SPDX-License-Identifier: Apache-2.0
"""Node realsense_camera: a RealSense camera on USB, a recording of one, or an emulated D415."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from muon_ad_msgs.msg import FrameMetadata
from numpy.typing import NDArray
from std_srvs.srv import SetBool

from muon_ad_core.errors import ParameterError
from muon_ad_core.sources.numbers import NumberCounter
from muon_ad_core.sources.realsense.alignment import DepthAligner
from muon_ad_core.sources.realsense.camera import RealSenseCamera
from muon_ad_core.sources.realsense.emulated import EmulatedD415
from muon_ad_core.sources.realsense.frames import DeviceFrame, Session
from muon_ad_core.sources.realsense.ports import DevicePort, RecordingPort, UsbPort
from muon_ad_core.sources.realsense.stamps import FrameStamper
from muon_ad_core.sources.realsense.streams import STREAMS, Mode
from muon_ad_core.timing.clock import Stamp
from muon_ad_core.timing.estimators import TransportDelay
from muon_ad_core.timing.pairing import MatchedSet, PairingEngine

from .camera_info import calibration_message
from .captured_stream import CapturedStream
from .managed import run_node
from .parameters import ParameterSpec, Values
from .reporting import ReportingNode
from .status import to_stamp
from .transforms import GeometryPublisher, optical_frame

USB, EMULATED = "usb", "emulated_d415"
TOPICS = {
    "color": ("color/image_raw", "rgb8"),
    "depth": ("depth/image_rect_raw", "16UC1"),
    "infra1": ("infra1/image_rect_raw", "mono8"),
    "infra2": ("infra2/image_rect_raw", "mono8"),
}
ALIGNED = "aligned_depth_to_color/image_raw"
MILLIMETRE = 1e-3  # unit of 16UC1 depth (REP 118), in metres
PAIRED_FRAMES = 4  # that wait for their partner; librealsense has 16 a stream

_REOPEN = "clean the node up first"
REALSENSE_PARAMETERS = (
    ParameterSpec(
        "source",
        USB,
        f"'{USB}', '{EMULATED}' (no camera needed), or a recording by librealsense (.db3, .bag).",
        fixed=_REOPEN,
    ),
    ParameterSpec("serial", "", "Serial number, with or without a leading '_'; empty: any camera.", fixed=_REOPEN),
    ParameterSpec("camera_name", "camera", "First part of the names of the frames.", fixed=_REOPEN),
    ParameterSpec("streams", ["color", "depth"], f"Streams to publish, of: {', '.join(STREAMS)}.", fixed=_REOPEN),
    ParameterSpec("width", 640, "Picture width in pixels.", minimum=64, maximum=3840, fixed=_REOPEN),
    ParameterSpec("height", 480, "Picture height in pixels.", minimum=48, maximum=2160, fixed=_REOPEN),
    ParameterSpec("rate", 30, "Frames a second.", minimum=1, maximum=300, fixed=_REOPEN),
    ParameterSpec(
        "aligned_depth",
        False,
        f"Publish {ALIGNED}: depth as colour sees it, with that picture's stamp, while somebody subscribes.",
        fixed=_REOPEN,
    ),
    ParameterSpec(
        "global_time",
        False,
        "Take librealsense's translation of the device's clock, instead of the one of this package.",
        fixed=_REOPEN,
    ),
    ParameterSpec(
        "delay_ms",
        9.0,
        "Least delay from the middle of the exposure to the arrival of depth (without depth: of the first stream).",
        minimum=0.0,
        maximum=1000.0,
        fixed=_REOPEN,
    ),
)


class RealSenseNode(ReportingNode):
    """Publishes the streams of a camera with stamps translated from its hardware clock, across unplugging."""

    role = "source"

    def __init__(self) -> None:
        super().__init__("realsense_camera", REALSENSE_PARAMETERS)
        self._port: DevicePort | None = None
        self._camera: RealSenseCamera | None = None
        self._streams: dict[str, CapturedStream] = {}
        self._aligned: CapturedStream | None = None
        self._aligner: DepthAligner | None = None
        self._geometry = GeometryPublisher(self)
        self._session: Session | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self.create_service(SetBool, "~/plug", self._plug)

    # Lifecycle

    def configure(self) -> None:
        values = self.parameters.values
        self._mode = Mode(values["width"], values["height"], values["rate"])
        self._names = stream_order(values)
        self._port = open_port(values["source"], self._mode)
        camera = values["camera_name"]
        for name in self._names:
            topic, encoding = TOPICS[name]
            self._streams[name] = CapturedStream(self, topic, optical_frame(camera, name), encoding)
        if values["aligned_depth"]:
            self._aligned = CapturedStream(self, ALIGNED, optical_frame(camera, "color"), "16UC1")
            self._aligner = DepthAligner()

    def activate(self) -> None:
        assert self._port is not None
        values = self.parameters.values
        self._session = None
        self._camera = RealSenseCamera(
            self._port,
            values["serial"].lstrip("_"),
            self._names,
            self._mode,
            values["global_time"],
            lambda reason: self.complain(reason, f"RealSense camera: {reason}"),
        )
        self._overrun = dict.fromkeys(self._names, 0)
        self._stopping.clear()
        self._camera.start()
        self._thread = threading.Thread(target=self._run, args=(self._camera,), name="camera", daemon=True)
        self._thread.start()
        self.policy.keep()

    def deactivate(self) -> None:
        if self._camera is not None:
            self._camera.stop()
            self._camera = None
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def cleanup(self) -> None:
        for stream in (*self._streams.values(), *([self._aligned] if self._aligned else [])):
            stream.close()
        self._streams, self._aligned, self._aligner = {}, None, None
        self._geometry.close()
        if self._port is not None:
            self._port.close()
            self._port = None

    # Frames, in the node's own thread

    def _run(self, camera: RealSenseCamera) -> None:
        while not self._stopping.is_set():
            frame = camera.queue.take(timeout=0.2)
            for stream, count in camera.queue.take_overrun().items():
                self._overrun[stream] += count  # they show as a gap in the numbers of the frames to come
                self.complain("overrun", f"{count} frames of {stream} came faster than they could be published")
            if frame is not None:
                self._publish(frame)

    def _begin(self, session: Session) -> None:
        """The first frame of a device that was plugged in."""
        delay = TransportDelay(round(self.parameters["delay_ms"] * 1e6))
        self._session = session
        self._stamper = FrameStamper(self._names, dict.fromkeys(self._names, delay))
        self._numbers = {name: NumberCounter() for name in self._names}
        self._overrun = dict.fromkeys(self._names, 0)
        for name, stream in self._streams.items():
            stream.info = calibration_message(session.calibrations[name])
        if self._aligned is not None:
            self._aligned.info = calibration_message(session.calibrations["color"])
            self._pairs: PairingEngine[tuple[DeviceFrame, FrameMetadata]] = PairingEngine(
                ("depth", "color"), 1_000_000_000 // self._mode.rate, self._publish_aligned, queue_frames=PAIRED_FRAMES
            )
        self._geometry.publish(self.parameters["camera_name"], session.extrinsics)
        self.get_logger().info(
            f"{session.name}, serial number {session.serial}: {', '.join(self._names)} at "
            f"{self._mode.width}x{self._mode.height}, {self._mode.rate} Hz (session {session.number})"
        )
        self.went_well()

    def _publish(self, frame: DeviceFrame) -> None:
        began = time.monotonic()
        if frame.session is not self._session:
            self._begin(frame.session)
        missed = self._numbers[frame.stream].count(frame.number)
        if missed is None:
            self.ledger.received()
            self.drop("repeated", f"frame {frame.number} of {frame.stream} came twice, or after a newer one")
            return
        stamp = self._stamper.stamp(frame)
        metadata = describe(frame, stamp, missed)
        overrun = min(missed, self._overrun[frame.stream])
        self._overrun[frame.stream] -= overrun
        self._streams[frame.stream].publish_captured(self._picture(frame), stamp.stamp_ns, metadata, overrun)
        self.reporter.record((time.monotonic() - began) * 1e3, missed=False)
        if self._aligned is not None and self._aligned.wanted and frame.stream in ("color", "depth"):
            self._pairs.add(frame.stream, stamp.stamp_ns, (frame, metadata))

    def _publish_aligned(self, pair: MatchedSet[tuple[DeviceFrame, FrameMetadata]]) -> None:
        assert self._aligned is not None and self._aligner is not None
        (depth, _), (color, _) = pair.items
        aligned = self._aligner.align(depth, color)
        self._aligned.publish(self._millimetres(aligned, depth.session), pair.stamps_ns[1])

    def _picture(self, frame: DeviceFrame) -> NDArray[Any]:
        pixels = frame.pixels()
        return self._millimetres(pixels, frame.session) if frame.stream == "depth" else pixels

    @staticmethod
    def _millimetres(depth: NDArray[np.uint16], session: Session) -> NDArray[np.uint16]:
        if abs(session.depth_units - MILLIMETRE) < 1e-9:
            return depth
        return np.round(depth * (session.depth_units / MILLIMETRE)).astype(np.uint16)

    # Service

    def _plug(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Put the plug of the emulated camera in, or pull it."""
        if not isinstance(self._port, EmulatedD415):
            response.message = f"only the source {EMULATED} can be plugged by a service, while the node is configured"
            return response
        (self._port.plug if request.data else self._port.unplug)()
        response.success, response.message = True, "plugged in" if request.data else "unplugged"
        return response


def stream_order(values: Values) -> list[str]:
    """The streams in use, with the one that teaches the device's clock first. Raises ParameterError."""
    names = list(values["streams"])
    unknown = [name for name in names if name not in STREAMS]
    if unknown or not names or len(set(names)) < len(names):
        raise ParameterError(f"streams must name some of {', '.join(STREAMS)}, each once, not {names}")
    if values["aligned_depth"] and not {"color", "depth"} <= set(names):
        raise ParameterError("aligned_depth needs the streams color and depth: add them to streams")
    return sorted(names, key=lambda name: name != "depth")


def open_port(source: str, mode: Mode) -> DevicePort:
    """Where to look for the device; raises a SourceError."""
    if source == USB:
        return UsbPort()
    if source == EMULATED:
        return EmulatedD415(mode)
    return RecordingPort(Path(source))


def describe(frame: DeviceFrame, stamp: Stamp, missed: int) -> FrameMetadata:
    """The frame's metadata, all but the header."""
    return FrameMetadata(
        number=frame.number,
        missed=missed,
        session=frame.session.number,
        device_ticks=frame.ticks,
        device_event=stamp.event,
        provenance=stamp.provenance,
        uncertainty_ns=stamp.uncertainty_ns,
        arrival=to_stamp(frame.arrival_ns),
    )


def main() -> None:
    sys.exit(run_node(RealSenseNode))


if __name__ == "__main__":
    main()
