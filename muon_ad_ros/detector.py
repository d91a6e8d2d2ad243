# SPDX-License-Identifier: Apache-2.0
"""Node detector: camera image in, boxes out, in the picture and, where depth is there, in space."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from muon_ad_msgs.msg import WorkerStatus
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, Detection3DArray

from muon_ad_core.detect.depth import Placement, place
from muon_ad_core.detect.detector import Detections, Detector
from muon_ad_core.detect.draw import draw_detections
from muon_ad_core.detect.registration import undistort
from muon_ad_core.detect.tracking import Tracker
from muon_ad_core.engine.package import EnginePackage
from muon_ad_core.errors import ParameterError
from muon_ad_core.realtime.policy import REAL_TIME_POLICIES

from . import qos
from .conversions import ImageWriter, RgbReader
from .depth_input import AlignedDepth, DepthInput
from .detection_diagnostics import DetectionDiagnostics
from .detection_messages import detections_2d, detections_3d
from .managed import run_node
from .parameters import ParameterSpec, Values
from .slots import SlotGate
from .status import STATUS_PERIOD, StageClock, to_nanoseconds
from .worker import FrameWorker, ReceivedFrame, worker_parameters

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
    ParameterSpec("tracking", True, "Give detections of one object in successive pictures the same id."),
    ParameterSpec(
        "track_overlap",
        0.3,
        "Least overlap of a detection with where a tracked object should be.",
        minimum=0.01,
        maximum=0.99,
    ),
    ParameterSpec(
        "track_memory", 1.0, "Seconds for which an object that is not seen keeps its id.", minimum=0.0, maximum=60.0
    ),
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
        common = worker_parameters(engine="detector_pruned", threads=1, max_rate=15.0, deadline_ms=100.0)
        super().__init__("detector", (*DETECTION_PARAMETERS, *common))
        self._reader = RgbReader()
        self._writer = ImageWriter("rgb8")
        self._gate = SlotGate(self, self.parameters["least_rate"])
        self._gate.follow(self.parameters["slots_of"], self.parameters["least_rate"])
        self._depth = DepthInput(self)
        self._tracker = Tracker()
        self._diagnostics = DetectionDiagnostics(self)

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
        self.create_timer(STATUS_PERIOD, self._tell_diagnostics, clock=self.steady_clock)

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
        self._depth.close()

    def _follow_demand(self) -> None:
        """Subscribe to depth only while it is of use: a depth stream costs both ends a good part of a core."""
        wanted = self.state_label == "active" and self._publisher_3d.get_subscription_count() > 0
        if wanted and not self._depth.is_open:
            self._depth.open()
        elif not wanted:
            self._depth.close()

    def _tell_diagnostics(self) -> None:
        if self.state_label == "active":
            self._diagnostics.publish()

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
        status.scene_distance_m = self._depth.distance_m

    # Frames

    def process(self, runner: DetectionEngine, frame: ReceivedFrame, clock: StageClock) -> None:
        began = time.monotonic()
        self._detect(runner, frame, clock)
        self._gate.ran(began, time.monotonic() - began)

    def _detect(self, runner: DetectionEngine, frame: ReceivedFrame, clock: StageClock) -> None:
        header = frame.message.header
        rgb = self._reader.read(frame.message)
        self.fit(runner, *rgb.shape[:2])
        clock.lap("convert")
        detections = runner.run(rgb, self.parameters.values)
        clock.lap("infer")
        ids = self._track(detections, runner.classes, to_nanoseconds(header.stamp))
        message = detections_2d(detections, runner.classes, ids, header)
        clock.lap("convert")
        self._publisher.publish(message)
        clock.lap("publish")
        if self._depth.is_open:
            self._publish_3d(detections, runner.classes, ids, rgb.shape[:2], header)
        if self._image_publisher.get_subscription_count():
            drawn = draw_detections(rgb, detections, runner.classes)
            self._image_publisher.publish(self._writer.write(drawn, header))
        clock.lap("publish")

    def _track(self, detections: Detections, classes: Sequence[str], stamp_ns: int) -> list[str]:
        """The id of each detection, empty without tracking; counts them as well."""
        names = [classes[label] for label in detections.labels]
        ids = [""] * len(names)
        if self.parameters["tracking"]:
            self._tracker.iou_threshold = self.parameters["track_overlap"]
            self._tracker.memory = self.parameters["track_memory"]
            ids = list(map(str, self._tracker.update(detections.boxes, names, stamp_ns)))
        self._diagnostics.count(names, len(self._tracker), self._tracker.given)
        return ids

    def _publish_3d(
        self,
        detections: Detections,
        classes: Sequence[str],
        ids: Sequence[str],
        size: tuple[int, int],
        header: Header,
    ) -> None:
        """Publish the detections in space, unless depth or calibration for this frame is missing."""
        depth = self._depth.depth_for(header, size)
        if depth is None:
            return
        placements = [_place(depth, box) for box, _, _ in detections]
        if None in placements:
            self.fault("no_depth", "a detection has no valid depth: it is left out of detections_3d")
        self._publisher_3d.publish(detections_3d(detections, placements, classes, ids, header))


def _place(depth: AlignedDepth, box: NDArray[np.float32]) -> Placement | None:
    camera = depth.camera
    ideal = undistort(camera, box.reshape(2, 2)).ravel() if any(camera.d) else None
    return place(depth.pixels, box, np.array(camera.k).reshape(3, 3), ideal)


def main() -> None:
    sys.exit(run_node(DetectorNode))


if __name__ == "__main__":
    main()
