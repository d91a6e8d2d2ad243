# SPDX-License-Identifier: Apache-2.0
"""detector over real DDS: what the library finds, in the picture and in space, with ids; faults in depth survived.

How good the shipped engine is belongs to its own tests; here the node must publish what the engine finds.
"""

import array
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2DArray, Detection3DArray

from muon_ad_core.detect.detector import Detections, Detector
from muon_ad_core.engine.package import EnginePackage, find_engine

NODE = "/test_detector/detector"
FOCAL = 500.0
DISTANCE = 2.0  # metres
COLOR_FRAME, DEPTH_FRAME = "camera_color_optical_frame", "camera_depth_optical_frame"


THRESHOLD = 0.1


def photograph() -> np.ndarray:
    """A photograph of a person, RGB, 512x512."""
    return skimage.data.astronaut()


def calibration() -> CameraInfo:
    return CameraInfo(width=512, height=512, k=[FOCAL, 0.0, 256.0, 0.0, FOCAL, 256.0, 0.0, 0.0, 1.0])


def image_message(pixels: np.ndarray, encoding: str, stamp_ns: int, frame_id: str = COLOR_FRAME) -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.nbytes // pixels.shape[0]
    message.data = array.array("B", pixels.tobytes())
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return message


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


class Scene:
    """Publishes the photograph, with depth and calibration if wanted, until a result satisfies."""

    def __init__(self, probe: Any, wait_until: Any, namespace: str) -> None:
        self._probe, self._wait_until, self._namespace = probe, wait_until, namespace
        self.detections: list[Detection2DArray] = probe.listen(f"{namespace}/detections", Detection2DArray)
        self._color = probe.publisher(f"{namespace}/color/image_raw", Image)
        self.depth: np.ndarray | None = None
        self.depth_encoding = "16UC1"
        self.depth_frame = COLOR_FRAME
        self.with_info = False
        self.stamps: list[int] = []

    def look(self) -> None:
        """Publish one frame and what belongs to it."""
        stamp_ns = self._probe.now_ns()
        self.stamps.append(stamp_ns)
        if self.with_info:
            self._info_publisher.publish(calibration())
        if self.depth is not None:
            self._depth_publisher.publish(image_message(self.depth, self.depth_encoding, stamp_ns, self.depth_frame))
            time.sleep(0.02)  # let depth arrive first, as it cannot be waited for
        self._color.publish(image_message(photograph(), "rgb8", stamp_ns))

    def prepare_depth(self) -> None:
        self._depth_publisher = self._probe.publisher(f"{self._namespace}/depth/image_rect_raw", Image)
        self._info_publisher = self._probe.publisher(f"{self._namespace}/color/camera_info", CameraInfo)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Publish frames until the condition holds."""

        def holds() -> Any:
            value = condition()
            if not value:
                self.look()
                time.sleep(0.1)
            return value

        return self._wait_until(holds, what)

    def new(self, messages: list[Any], condition: Callable[[Any], bool], what: str) -> Any:
        """Publish frames until a message that is appended from now on satisfies the condition."""
        seen = len(messages)
        return self.until(lambda: next((message for message in messages[seen:] if condition(message)), None), what)


def names(message: Any) -> set[str]:
    return {detection.results[0].hypothesis.class_id for detection in message.detections}


@pytest.fixture(scope="module")
def expected() -> Detections:
    """What the library finds in the photograph with the shipped engine."""
    detector = Detector(EnginePackage.load(find_engine("detector_pruned")), threads=1)
    found = detector.run(photograph(), score_threshold=THRESHOLD)
    assert len(found), "the shipped engine finds nothing in the photograph"
    return found


@pytest.fixture(scope="module")
def best(expected: Detections) -> str:
    """Name of the class of the best detection."""
    return EnginePackage.load(find_engine("detector_pruned")).manifest["classes"][int(expected.labels[0])]


@pytest.fixture(scope="module")
def node(start_node: Any) -> Any:
    # Objects are kept long, so that a picture that comes late on a busy machine shows the same ones.
    return start_node("detector", {"score_threshold": THRESHOLD, "track_memory": 60.0})


@pytest.fixture(scope="module")
def scene(node: Any, probe: Any, wait_until: Any) -> Scene:
    return Scene(probe, wait_until, node.namespace)


@pytest.fixture(scope="module")
def in_space(scene: Scene, node: Any, probe: Any) -> list[Detection3DArray]:
    """Subscribes to detections_3d, which makes the node subscribe to depth."""
    messages = probe.listen(f"{node.namespace}/detections_3d", Detection3DArray)
    scene.prepare_depth()
    return messages


def test_detections_are_published_as_the_library_finds_them(scene: Scene, expected: Detections, best: str) -> None:
    message = scene.new(scene.detections, lambda message: message.detections, "detections")
    assert stamp_of(message) in scene.stamps
    assert message.header.frame_id == COLOR_FRAME
    assert len(message.detections) == len(expected)
    for found, (box, score, _) in zip(message.detections, expected):
        assert found.header == message.header
        assert found.results[0].hypothesis.score == pytest.approx(score, abs=0.01)
        centre, bounds = found.bbox.center.position, found.bbox
        edges = (centre.x - bounds.size_x / 2, centre.y - bounds.size_y / 2, centre.x + bounds.size_x / 2)
        assert edges == pytest.approx(box[:3].tolist(), abs=1.0)
    assert message.detections[0].results[0].hypothesis.class_id == best


def test_classes_and_thresholds_change_live(scene: Scene, node: Any, probe: Any, best: str) -> None:
    other = "zebra" if best != "zebra" else "giraffe"
    assert probe.set_parameter(NODE, "classes", [other]).successful
    scene.new(scene.detections, lambda message: not names(message) - {other}, "no detection but the other class")
    assert probe.set_parameter(NODE, "classes", [best]).successful
    scene.new(scene.detections, lambda message: names(message) == {best}, "the best class alone")
    assert probe.set_parameter(NODE, "score_threshold", 0.99).successful
    scene.new(scene.detections, lambda message: not message.detections, "nothing that certain")
    assert probe.set_parameter(NODE, "score_threshold", THRESHOLD).successful
    assert probe.set_parameter(NODE, "iou_threshold", 0.4).successful
    scene.new(scene.detections, lambda message: best in names(message), "the best class again")


def test_an_object_keeps_its_id_from_picture_to_picture(scene: Scene, probe: Any, best: str) -> None:
    first = scene.new(scene.detections, lambda message: best in names(message), "the best class")
    ids = [found.id for found in first.detections]
    assert len(set(ids)) == len(ids)
    assert all(int(text) > 0 for text in ids)
    again = scene.new(scene.detections, lambda message: stamp_of(message) > stamp_of(first), "a later picture")
    assert [found.id for found in again.detections] == ids
    assert probe.set_parameter(NODE, "tracking", False).successful
    scene.new(scene.detections, lambda message: {d.id for d in message.detections} == {""}, "no ids without tracking")
    assert probe.set_parameter(NODE, "tracking", True).successful
    scene.new(scene.detections, lambda message: [d.id for d in message.detections] == ids, "the ids of before")


def test_counts_of_every_class_are_told(scene: Scene, probe: Any, best: str) -> None:
    heard = probe.listen("/diagnostics", DiagnosticArray)

    def counts() -> dict[str, str]:
        own = [s for array in heard for s in array.status if s.name == f"{NODE[1:]}: detections"]
        return {entry.key: entry.value for entry in own[-1].values} if own else {}

    before = scene.until(counts, "a diagnostic")
    scene.until(lambda: int(counts()[f"total.{best}"]) > int(before[f"total.{best}"]), "the class counted on")
    assert int(counts()[f"now.{best}"]) >= 1
    assert int(counts()["ids_given"]) >= int(counts()["objects_tracked"]) >= 1


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("track_overlap", 0.0, "0.01"),
        ("track_memory", 100.0, "60"),
        ("classes", ["person", "unicorn"], "'unicorn' is unknown"),
        ("score_threshold", 1.5, "0.99"),
        ("iou_threshold", 0.0, "0.01"),
        ("max_rate", 5000.0, "1000"),
        ("threads", 2, "clean the node up first"),
    ],
)
def test_values_out_of_range_are_refused_with_a_reason(
    node: Any, probe: Any, name: str, value: Any, reason: str
) -> None:
    before = probe.get_parameter(NODE, name)
    result = probe.set_parameter(NODE, name, value)
    assert not result.successful
    assert reason in result.reason
    assert probe.get_parameter(NODE, name) == before


def test_the_drawn_picture_appears_when_subscribed(scene: Scene, node: Any, probe: Any) -> None:
    drawn = probe.listen(f"{node.namespace}/detections/image_raw", Image)
    message = scene.new(drawn, lambda message: True, "a drawn picture")
    assert (message.height, message.width, message.encoding) == (512, 512, "rgb8")
    pixels = np.frombuffer(message.data, np.uint8).reshape(512, 512, 3)
    changed = cv2.absdiff(pixels, photograph()).max(axis=2) > 50
    assert 0.0005 < changed.mean() < 0.5


def test_without_calibration_depth_is_of_no_use_but_detections_go_on(
    scene: Scene, in_space: list[Detection3DArray], probe: Any, best: str
) -> None:
    scene.depth, scene.depth_encoding = np.full((512, 512), int(DISTANCE * 1000), np.uint16), "16UC1"
    scene.until(
        lambda: "no_camera_info" in probe.next_status(NODE).fault_causes, "the missing calibration in the status"
    )
    assert not in_space
    scene.new(scene.detections, lambda message: best in names(message), "detections without space")


@pytest.mark.parametrize(("encoding", "unit", "kind"), [("16UC1", 1000.0, np.uint16), ("32FC1", 1.0, np.float32)])
def test_with_depth_detections_are_placed_in_space(
    scene: Scene, in_space: list[Detection3DArray], best: str, encoding: str, unit: float, kind: type
) -> None:
    scene.with_info = True
    scene.depth, scene.depth_encoding = np.full((512, 512), DISTANCE * unit, kind), encoding
    message = scene.new(in_space, lambda message: message.detections, "detections in space")
    assert stamp_of(message) in scene.stamps
    found = message.detections[0]
    assert found.results[0].hypothesis.class_id == best
    assert found.bbox.center.position.z == pytest.approx(DISTANCE, rel=0.01)
    flat = next(array for array in scene.detections if stamp_of(array) == stamp_of(message)).detections[0]
    expected_x = (flat.bbox.center.position.x - 256.0) * DISTANCE / FOCAL
    assert found.bbox.center.position.x == pytest.approx(expected_x, abs=0.02)
    assert found.results[0].pose.covariance[14] >= 0.0


def test_depth_of_another_camera_is_registered_once_its_place_is_known(
    scene: Scene, in_space: list[Detection3DArray], node: Any, probe: Any, best: str
) -> None:
    scene.with_info, scene.depth_frame = True, DEPTH_FRAME
    scene.depth, scene.depth_encoding = np.full((512, 512), int(DISTANCE * 1000), np.uint16), "16UC1"
    scene.until(lambda: "no_depth_camera_info" in probe.next_status(NODE).fault_causes, "the missing calibration")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    info = probe.publisher(f"{node.namespace}/depth/camera_info", CameraInfo)
    scene.until(
        lambda: info.publish(calibration()) or "no_extrinsics" in probe.next_status(NODE).fault_causes,
        "the missing place of the depth camera",
    )
    place = TransformStamped(child_frame_id=DEPTH_FRAME)
    place.header.frame_id = COLOR_FRAME
    place.transform.translation.z = 0.5  # the depth camera stands half a metre before the colour camera
    topic = f"{node.namespace}/extrinsics/depth_to_color"
    probe.node.create_publisher(TransformStamped, topic, latched).publish(place)
    message = scene.new(in_space, lambda message: message.detections, "detections in space")
    assert message.header.frame_id == COLOR_FRAME
    for found in message.detections:
        assert found.bbox.center.position.z == pytest.approx(DISTANCE + 0.5, abs=0.01)
    flat = next(array for array in scene.detections if stamp_of(array) == stamp_of(message))
    assert {found.id for found in message.detections} <= {found.id for found in flat.detections}
    scene.depth_frame = COLOR_FRAME


@pytest.mark.parametrize(
    ("depth", "encoding", "fault"),
    [
        (np.full((512, 512), np.nan, np.float32), "32FC1", "no_depth"),
        (np.zeros((512, 512), np.uint16), "16UC1", "no_depth"),
        (np.full((100, 100), 2000, np.uint16), "16UC1", "depth_size"),
        (np.zeros((512, 512, 3), np.uint8), "rgb8", "depth_unsupported_encoding"),
    ],
)
def test_useless_depth_is_counted_and_detections_go_on(
    scene: Scene,
    in_space: list[Detection3DArray],
    probe: Any,
    best: str,
    depth: np.ndarray,
    encoding: str,
    fault: str,
) -> None:
    def count() -> int:
        status = probe.next_status(NODE)
        return dict(zip(status.fault_causes, status.fault_counts)).get(fault, 0)

    before = count()
    scene.with_info, scene.depth, scene.depth_encoding = True, depth, encoding
    scene.until(lambda: count() > before, f"{fault} in the status")
    scene.new(scene.detections, lambda message: best in names(message), "detections in spite of it")


def test_no_more_than_the_maximum_rate_is_processed(scene: Scene, probe: Any) -> None:
    scene.depth = None
    assert probe.set_parameter(NODE, "max_rate", 1.0).successful
    before = probe.next_status(NODE)
    for _ in range(10):
        scene.look()
    after = probe.next_status(NODE)
    drops = dict(zip(after.drop_causes, after.drop_counts))
    assert drops.get("max_rate", 0) > dict(zip(before.drop_causes, before.drop_counts)).get("max_rate", 0)
    assert after.frames_in == after.frames_out + sum(after.drop_counts)
    assert (after.role, after.imports_torch) == ("detection", False)
    assert after.rss_mb < 400.0
    assert probe.set_parameter(NODE, "max_rate", 15.0).successful


def test_a_style_engine_is_refused(start_node: Any) -> None:
    node = start_node("detector", {"engine": "student"}, name="mistaken")
    assert node.wait() == 2
    assert "engine 'student' is for style" in node.log
