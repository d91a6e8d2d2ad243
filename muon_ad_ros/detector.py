# SPDX-License-Identifier: Apache-2.0
"""Node detector: camera image in, boxes out, in the picture and, where depth is there, in space."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from muon_ad_msgs.msg import WorkerStatus
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, Detection3DArray

from muon_ad_core.detect.depth import median_distance, place
from muon_ad_core.detect.detector import Detections, Detector
from muon_ad_core.detect.draw import draw_detections
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import ParameterError
from muon_ad_core.realtime.policy import REAL_TIME_POLICIES

from . import qos
from .conversions import ImageError, ImageWriter, RgbReader, read_depth
from .detection_messages import detections_2d, detections_3d
from .managed import run_node
from .parameters import ParameterSpec, Values
from .slots import SlotGate
from .status import StageClock, to_nanoseconds
from .worker import FrameWorker, ReceivedFrame, worker_parameters

DEPTH_TOLERANCE_NS = 15_000_000  # half a frame at 30 Hz
DEPTH_KEPT = 8  # depth pictures that wait for the colour picture they belong to
DEMAND_PERIOD = 0.5  # seconds between looks whether anybody wants detections_3d

DETECTION_PARAMETERS = (
    ParameterSpec("score_threshold", 0.35, "Least score of a detection.", minimum=0.01, maximum=0.99),
    ParameterSpec(
        "iou_threshold",
        0.5,
        "Overlap from which the weaker of two boxes of a class is left out.",
        minimum=0.01,
        maximum=0.99,
    ),
    ParameterSpec("classes", [], "Names of the classes to report; empty: all."),
    ParameterSpec(
        "rate_limit", 0.0, "As max_rate, set by the scheduler; the lower of both counts.", minimum=0.0, maximum=1000.0
    ),
    ParameterSpec(
        "slots_of",
        "",
        "Node between whose frames detection runs, set by the scheduler; empty: runs at any time.",
    ),
    ParameterSpec(
        "least_rate",
        1.0,
        "Frames a second to process even where slots, set by the scheduler, are too short or there are none.",
        minimum=0.5,
        maximum=1000.0,
    ),
)


class DetectionEngine:
    """A detector together with the classes to report."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.backend = detector.backend
        self.classes = detector.classes
        self._wanted: frozenset[int] | None = None

    def want(self, names: Sequence[str]) -> None:
        """Report only these classes; all when empty."""
        self._wanted = frozenset(map(self.classes.index, names)) if names else None

    def run(self, rgb: NDArray[np.uint8], values: Values) -> Detections:
        """Detections in a picture, by the parameters score_threshold and iou_threshold."""
        return self.detector.run(rgb, values["score_threshold"], values["iou_threshold"], self._wanted)


class DetectorNode(FrameWorker):
    """Publishes detections; detections_3d and detections/image_raw (drawn boxes) while somebody subscribes to them."""

    role = "detection"
    task = "detection"

    def __init__(self) -> None:
        common = worker_parameters(engine="detector", threads=1, max_rate=15.0, deadline_ms=100.0)
        super().__init__("detector", (*DETECTION_PARAMETERS, *common))
        self._reader = RgbReader()
        self._writer = ImageWriter("rgb8")
        self._gate = SlotGate(self, self.parameters["least_rate"])
        self._gate.follow(self.parameters["slots_of"], self.parameters["least_rate"])
        self._distance_m = math.nan
        self._depths: deque[Image] = deque(maxlen=DEPTH_KEPT)
        self._info: CameraInfo | None = None
        self._depth_subscriptions: list[Any] = []

        self._publisher = self.create_publisher(
            Detection2DArray, "detections", qos.result_data(), qos_overriding_options=qos.overridable()
        )
        self._publisher_3d = self.create_publisher(
            Detection3DArray, "detections_3d", qos.result_data(), qos_overriding_options=qos.overridable()
        )
        self._image_publisher = self.create_publisher(
            Image, "detections/image_raw", qos.result_image(), qos_overriding_options=qos.overridable()
        )
        self.create_timer(DEMAND_PERIOD, self._follow_demand, clock=self.steady_clock)

    # Turns and rates

    def await_turn(self, closed: Callable[[], bool]) -> None:
        self._gate.wait(closed)

    def most_rate(self) -> float:
        return min((rate for rate in (super().most_rate(), self.parameters["rate_limit"]) if rate), default=0.0)

    def parameters_changed(self, changed: frozenset[str]) -> None:
        super().parameters_changed(changed)
        self._gate.follow(self.parameters["slots_of"], self.parameters["least_rate"])

    # Lifecycle

    def deactivate(self) -> None:
        super().deactivate()
        self._stop_depth()

    def _follow_demand(self) -> None:
        """Subscribe to depth only while it is of use: a depth stream costs both ends a good part of a core."""
        wanted = self.state_label == "active" and self._publisher_3d.get_subscription_count() > 0
        if wanted and not self._depth_subscriptions:
            self._depth_subscriptions = [
                self.create_subscription(
                    Image,
                    "depth/image_rect_raw",
                    self._remember_depth,
                    qos.sensor_input(),
                    qos_overriding_options=qos.overridable(),
                ),
                self.create_subscription(CameraInfo, "color/camera_info", self._remember_info, qos.sensor_input()),
            ]
        elif not wanted:
            self._stop_depth()

    def _stop_depth(self) -> None:
        for subscription in self._depth_subscriptions:
            self.destroy_subscription(subscription)
        self._depth_subscriptions = []
        self._depths.clear()

    def _remember_depth(self, depth: Image) -> None:
        self._depths.append(depth)

    def _remember_info(self, info: CameraInfo) -> None:
        self._info = info

    # Engine

    def open_engine(self, package: EnginePackage) -> DetectionEngine:
        return DetectionEngine(Detector(package, self.parameters["backend"], self.parameters["threads"]))

    def warm_up(self, runner: DetectionEngine, height: int, width: int) -> None:
        runner.detector.warm_up(height, width)

    def check_settings(self, runner: DetectionEngine, values: Values) -> None:
        unknown = [name for name in values["classes"] if name not in runner.classes]
        if unknown:
            raise ParameterError(f"class '{unknown[0]}' is unknown: use some of {', '.join(runner.classes)}")

    def apply_settings(self, runner: DetectionEngine, values: Values) -> None:
        runner.want(values["classes"])
        runner.detector.set_urgent(values["scheduling.policy"] in REAL_TIME_POLICIES)

    def level(self, runner: DetectionEngine) -> str:
        return runner.detector.level.name

    def describe(self, status: WorkerStatus) -> None:
        super().describe(status)
        status.scene_distance_m = self._distance_m if self._depth_subscriptions else math.nan

    # Frames

    def process(self, runner: DetectionEngine, frame: ReceivedFrame, clock: StageClock) -> None:
        began = time.monotonic()
        self._detect(runner, frame, clock)
        self._gate.ran(began, time.monotonic() - began)

    def _detect(self, runner: DetectionEngine, frame: ReceivedFrame, clock: StageClock) -> None:
        header = frame.message.header
        rgb = self._reader.read(frame.message)
        clock.lap("convert")
        detections = runner.run(rgb, self.parameters.values)
        clock.lap("infer")
        message = detections_2d(detections, runner.classes, header)
        clock.lap("convert")
        self._publisher.publish(message)
        clock.lap("publish")
        if self._depth_subscriptions:
            self._publish_3d(detections, runner.classes, rgb.shape[:2], header)
        if self._image_publisher.get_subscription_count():
            drawn = draw_detections(rgb, detections, runner.classes)
            self._image_publisher.publish(self._writer.write(drawn, header))
        clock.lap("publish")

    def _publish_3d(
        self, detections: Detections, classes: Sequence[str], size: tuple[int, int], header: Header
    ) -> None:
        """Publish the detections in space, unless depth or calibration for this frame is missing."""
        depth = self._depth_for(header, size)
        if depth is None:
            return
        info = self._info
        if info is None or (info.height, info.width) != size or not info.k[0]:
            self.fault("no_camera_info", "color/camera_info is missing or does not fit: no detections_3d")
            return
        camera_matrix = np.array(info.k).reshape(3, 3)
        placements = [place(depth, box, camera_matrix) for box, _, _ in detections]
        if None in placements:
            self.fault("no_depth", "a detection has no valid depth: it is left out of detections_3d")
        self._publisher_3d.publish(detections_3d(detections, placements, classes, header))

    def _depth_for(self, header: Header, size: tuple[int, int]) -> NDArray[Any] | None:
        """Depth registered to the colour picture with this header, or None."""
        stamp_ns = to_nanoseconds(header.stamp)
        message = min(list(self._depths), key=lambda depth: _distance_ns(depth, stamp_ns), default=None)
        if message is None:
            return None
        if _distance_ns(message, stamp_ns) > DEPTH_TOLERANCE_NS:
            self.fault("no_depth_image", "no depth image has the colour image's stamp: no detections_3d")
            return None
        try:
            depth = read_depth(message)
        except ImageError as error:
            self.fault(f"depth_{error.cause}", f"{error}: no detections_3d")
            return None
        if depth.shape != size:
            self.fault("depth_size", "the depth image is not registered to the colour image: no detections_3d")
            return None
        self._distance_m = median_distance(depth)
        return depth


def _distance_ns(depth: Image, stamp_ns: int) -> int:
    return abs(to_nanoseconds(depth.header.stamp) - stamp_ns)


def main() -> None:
    sys.exit(run_node(DetectorNode))


if __name__ == "__main__":
    main()
