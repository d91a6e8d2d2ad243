# SPDX-License-Identifier: Apache-2.0
"""style_transfer over real DDS: images through with stamps kept, live control without a lost frame, faults survived."""

import array
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from muon_ad_msgs.msg import FrameTiming
from muon_ad_msgs.srv import ListStyles, LoadEngine, LoadStyle
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from muon_ad_core.engine.package import MANIFEST, find_engine, write_package

NODE = "/test_style_transfer/style_transfer"
HEIGHT, WIDTH = 120, 160
PERIOD_NS = 33_000_000
RELIABLE_INPUT = """
/**:
  ros__parameters:
    qos_overrides:
      /test_style_transfer/color/image_raw:
        subscription:
          reliability: reliable
"""


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth random picture, RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def image_message(pixels: np.ndarray, encoding: str = "rgb8") -> Image:
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.nbytes // pixels.shape[0]
    message.data = array.array("B", pixels.tobytes())
    message.header.frame_id = "camera_color_optical_frame"
    return message


def pixels_of(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


class Stream:
    """Sends frames with rising stamps and finds their results."""

    def __init__(self, probe: Any, wait_until: Any, namespace: str) -> None:
        self._probe, self._wait_until = probe, wait_until
        self.results: list[Image] = probe.listen(f"{namespace}/stylized/image_raw", Image)
        self._publisher = probe.publisher(f"{namespace}/color/image_raw", Image)
        self._last_ns = probe.now_ns()
        self.sent = 0
        wait_until(self._answered, f"a first answer from the node in {namespace}")

    def _answered(self) -> bool:
        """Whether a frame comes out; the first ones pass by a subscription that has not found the publisher yet."""
        self.send(image_message(picture(0)))
        time.sleep(0.1)
        return bool(self.results)

    def send(self, message: Image, stamp_ns: int = 0) -> int:
        """Publish a frame; returns its stamp, by default now, and rising."""
        self._last_ns = stamp_ns or max(self._probe.now_ns(), self._last_ns + 1)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._last_ns, 1_000_000_000)
        self._publisher.publish(message)
        self.sent += 1
        return self._last_ns

    def result_of(self, stamp_ns: int) -> Image:
        return self._wait_until(
            lambda: next((result for result in self.results if stamp_of(result) == stamp_ns), None),
            f"the result of the frame stamped {stamp_ns}",
        )

    def through(self, message: Image) -> Image:
        """Send a frame and wait for its result."""
        return self.result_of(self.send(message))


@pytest.fixture(scope="module")
def node(start_node: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    parameters = tmp_path_factory.mktemp("parameters") / "reliable.yaml"
    parameters.write_text(RELIABLE_INPUT)
    return start_node("style_transfer", arguments=["--params-file", str(parameters)])


@pytest.fixture(scope="module")
def stream(node: Any, probe: Any, wait_until: Any) -> Stream:
    return Stream(probe, wait_until, node.namespace)


@pytest.fixture
def identity(node: Any, probe: Any) -> Iterator[None]:
    """Strength 0, so that the result is the input."""
    assert probe.set_parameter(NODE, "strength", 0.0).successful
    yield
    assert probe.set_parameter(NODE, "strength", 1.0).successful


@pytest.fixture
def engine_copy(tmp_path: Path) -> Path:
    """A copy of the shipped engine under the name "copy"."""
    target = tmp_path / "copy"
    shutil.copytree(find_engine("student"), target)
    manifest = json.loads((target / MANIFEST).read_text())
    files = manifest.pop("files")
    write_package(target, {**manifest, "name": "copy"}, files)
    return target


def test_a_frame_comes_out_stylised_with_its_stamp_and_frame_id(stream: Stream) -> None:
    rgb = picture(1)
    result = stream.through(image_message(rgb))
    assert (result.encoding, result.height, result.width) == ("rgb8", HEIGHT, WIDTH)
    assert result.header.frame_id == "camera_color_optical_frame"
    assert np.abs(pixels_of(result).astype(int) - rgb).mean() > 5.0


def test_camera_info_goes_with_the_stylised_picture(stream: Stream, node: Any, probe: Any, wait_until: Any) -> None:
    infos = probe.listen(f"{node.namespace}/stylized/camera_info", CameraInfo)

    def missing() -> int:
        stream.through(image_message(picture(2)))
        status = probe.next_status(NODE)
        return dict(zip(status.fault_causes, status.fault_counts)).get("no_camera_info", 0)

    wait_until(missing, "the missing calibration in the status")
    assert node.log.count("color/camera_info is missing") == 1
    publisher = probe.publisher(f"{node.namespace}/color/camera_info", CameraInfo)

    def info_of_a_new_frame() -> CameraInfo | None:
        publisher.publish(CameraInfo(width=WIDTH, height=HEIGHT, k=[100.0, 0.0, 80.0, 0.0, 100.0, 60.0, 0.0, 0.0, 1.0]))
        stamp_ns = stamp_of(stream.through(image_message(picture(2))))
        return next((info for info in infos if stamp_of(info) == stamp_ns), None)

    info = wait_until(info_of_a_new_frame, "a calibration with the frame's stamp")
    assert info.header.frame_id == "camera_color_optical_frame"
    assert info.k[0] == 100.0


def test_the_compressed_picture_appears_when_subscribed(stream: Stream, node: Any, probe: Any, wait_until: Any) -> None:
    compressed = probe.listen(f"{node.namespace}/stylized/image_raw/compressed", CompressedImage)

    def decoded_picture() -> np.ndarray | None:
        stream.through(image_message(picture(3)))
        return cv2.imdecode(np.frombuffer(compressed[-1].data, np.uint8), cv2.IMREAD_COLOR) if compressed else None

    assert wait_until(lambda: decoded_picture() is not None, "a compressed picture")
    assert decoded_picture().shape == (HEIGHT, WIDTH, 3)
    assert stamp_of(compressed[-1]) in [stamp_of(result) for result in stream.results]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgba8", "bgra8"])
def test_encodings_are_read_right(stream: Stream, identity: None, encoding: str) -> None:
    rgb = picture(4)
    codes = {
        "bgr8": cv2.COLOR_RGB2BGR, "mono8": cv2.COLOR_RGB2GRAY, "rgba8": cv2.COLOR_RGB2RGBA, "bgra8": cv2.COLOR_RGB2BGRA
    }  # fmt: skip
    sent = cv2.cvtColor(rgb, codes[encoding]) if encoding in codes else rgb
    expected = cv2.cvtColor(sent, cv2.COLOR_GRAY2RGB) if encoding == "mono8" else rgb
    np.testing.assert_array_equal(pixels_of(stream.through(image_message(sent, encoding))), expected)


def test_yuyv_is_read_as_colour(stream: Stream, identity: None) -> None:
    grey_yuyv = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
    result = pixels_of(stream.through(image_message(grey_yuyv, "yuv422_yuy2")))
    assert np.ptp(result) <= 2
    assert 120 <= result.mean() <= 140


def test_every_parameter_changes_live_without_a_lost_frame(stream: Stream, node: Any, probe: Any) -> None:
    styles = probe.call(f"{NODE}/list_styles", ListStyles).names
    assert len(styles) >= 8
    before = probe.next_status(NODE)
    changes = [
        ("style", styles[1]), ("style_b", styles[2]), ("blend", 0.5), ("strength", 0.7), ("level", before.levels[0]),
        ("temporal_smoothing", 0.5), ("most_pixels", 9000), ("jpeg_quality", 40), ("max_rate", 900.0),
        ("deadline_ms", 50.0), ("most_pixels", 0),
        ("style", styles[0]), ("style_b", ""), ("blend", 0.0), ("strength", 1.0), ("temporal_smoothing", 0.0),
        ("max_rate", 0.0), ("level", "auto"),
    ]  # fmt: skip
    outputs = {}
    for name, value in changes:
        stamps = [stream.send(image_message(picture(5)))]
        result = probe.set_parameter(NODE, name, value)
        assert result.successful, result.reason
        assert probe.get_parameter(NODE, name) == value
        stream.result_of(stamps[0])
        outputs[name, value] = pixels_of(stream.through(image_message(picture(5))))
    after = probe.next_status(NODE)
    sent = 2 * len(changes)
    assert after.frames_in - before.frames_in == sent
    assert after.frames_out - before.frames_out == sent
    assert not np.array_equal(outputs["style", styles[1]], outputs["style", styles[0]])
    assert not np.array_equal(outputs["blend", 0.5], outputs["style", styles[1]])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("blend", 1.5, "1"),
        ("strength", -0.1, "0"),
        ("jpeg_quality", 0, "100"),
        ("max_rate", -1.0, "1000"),
        ("style", "no_such_style", "list_styles|use one of"),
        ("style_b", "no_such_style", "use one of"),
        ("level", "no_such_level", "auto"),
        ("engine", "other", "load_engine"),
        ("scheduling.policy", "URGENT", "FIFO"),
        ("scheduling.priority", 100, "99"),
        ("scheduling.affinity", [4000], "outside"),
    ],
)
def test_values_out_of_range_are_refused_with_a_reason(
    node: Any, probe: Any, name: str, value: Any, reason: str
) -> None:
    before = probe.get_parameter(NODE, name)
    result = probe.set_parameter(NODE, name, value)
    assert not result.successful
    assert any(part in result.reason for part in reason.split("|")), result.reason
    assert probe.get_parameter(NODE, name) == before


def test_a_whole_number_is_taken_for_a_real_one(node: Any, probe: Any) -> None:
    if not hasattr(probe.node, "add_pre_set_parameters_callback"):
        pytest.skip("this ROS (Humble) has no callback before parameters are set")
    assert probe.set_parameter(NODE, "strength", 1).successful
    assert probe.get_parameter(NODE, "strength") == 1.0


def test_a_picture_becomes_a_style_while_frames_flow(stream: Stream, node: Any, probe: Any, tmp_path: Path) -> None:
    path = tmp_path / "stripes.png"
    cv2.imwrite(str(path), np.tile(np.uint8([[[255, 0, 0]], [[0, 255, 255]]]), (128, 256, 1)))
    before = pixels_of(stream.through(image_message(picture(6)))).copy()
    response = probe.call(f"{NODE}/load_style", LoadStyle, path=str(path))
    assert response.success, response.message
    assert response.name == "stripes"
    assert "stripes" in probe.call(f"{NODE}/list_styles", ListStyles).names
    assert probe.set_parameter(NODE, "style", "stripes").successful
    after = pixels_of(stream.through(image_message(picture(6))))
    assert not np.array_equal(before, after)


def test_a_missing_or_unreadable_style_picture_is_refused(
    stream: Stream, node: Any, probe: Any, tmp_path: Path
) -> None:
    missing = probe.call(f"{NODE}/load_style", LoadStyle, path=str(tmp_path / "none.png"), name="missing")
    (tmp_path / "text.png").write_text("this is no picture")
    unreadable = probe.call(f"{NODE}/load_style", LoadStyle, path=str(tmp_path / "text.png"), name="unreadable")
    for response, word in ((missing, "no style picture"), (unreadable, "cannot be read")):
        assert not response.success
        assert word in response.message
    names = probe.call(f"{NODE}/list_styles", ListStyles).names
    assert not {"missing", "unreadable"} & set(names)
    stream.through(image_message(picture(7)))


def test_an_engine_is_swapped_while_frames_flow(
    stream: Stream, node: Any, probe: Any, wait_until: Any, engine_copy: Path
) -> None:
    before = probe.next_status(NODE)
    sent_before = stream.sent
    client = probe.node.create_client(LoadEngine, f"{NODE}/load_engine")
    wait_until(client.service_is_ready, "the service load_engine")
    future = client.call_async(LoadEngine.Request(path=str(engine_copy)))
    while not future.done():
        stream.through(image_message(picture(8)))
    assert future.result().success, future.result().message
    assert future.result().name == "copy"
    stream.through(image_message(picture(8)))
    after = probe.next_status(NODE)
    assert after.engine == "copy"
    assert after.frames_out - before.frames_out == stream.sent - sent_before
    assert probe.get_parameter(NODE, "engine") == str(engine_copy)
    assert probe.call(f"{NODE}/load_engine", LoadEngine, path="student").name == "student"


def corrupt(package: Path) -> None:
    graph = next(package.glob("*.onnx"))
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 0xFF
    graph.write_bytes(data)


def from_the_future(package: Path) -> None:
    manifest = json.loads((package / MANIFEST).read_text())
    (package / MANIFEST).write_text(json.dumps({**manifest, "format_version": 99}))


def without_manifest(package: Path) -> None:
    (package / MANIFEST).unlink()


@pytest.mark.parametrize(
    ("damage", "word"), [(corrupt, "checksum"), (from_the_future, "version 99"), (without_manifest, "no engine")]
)
def test_a_broken_engine_is_refused_and_the_old_one_serves(
    stream: Stream, node: Any, probe: Any, engine_copy: Path, damage: Any, word: str
) -> None:
    damage(engine_copy)
    response = probe.call(f"{NODE}/load_engine", LoadEngine, path=str(engine_copy))
    assert not response.success
    assert word in response.message
    assert response.name == "student"
    stream.through(image_message(picture(9)))


def drops(status: Any) -> dict[str, int]:
    return dict(zip(status.drop_causes, status.drop_counts))


def truncated() -> Image:
    message = image_message(picture(10))
    message.data = message.data[: len(message.data) // 2]
    return message


def wrong_size() -> Image:
    message = image_message(picture(10))
    message.height += 1
    return message


def wrong_encoding() -> Image:
    return image_message(picture(10), "bayer_unheard_of8")


def depth_as_colour() -> Image:
    return image_message(np.zeros((HEIGHT, WIDTH), np.uint16), "16UC1")


def test_unusable_images_are_counted_by_cause_said_once_and_skipped(
    stream: Stream, node: Any, probe: Any, wait_until: Any
) -> None:
    rounds = 0

    def all_counted() -> bool:
        nonlocal rounds
        rounds += 1
        for fault in (truncated, wrong_size, wrong_encoding, depth_as_colour, Image):
            stream.send(fault())
            time.sleep(0.05)  # or the next one may supersede it before it is looked at
        counts = drops(probe.next_status(NODE))
        return rounds > 2 and counts.get("size_mismatch", 0) > 3 and counts.get("unsupported_encoding", 0) > 3

    wait_until(all_counted, "the drops in the status")
    assert 1 <= node.log.count("is not supported") < rounds  # anew after a minute at the earliest
    stream.through(image_message(picture(10)))


def test_the_resolution_may_change_in_mid_stream(stream: Stream) -> None:
    for height, width in ((240, 320), (101, 77), (480, 640), (HEIGHT, WIDTH)):
        result = stream.through(image_message(picture(12, height, width)))
        assert (result.height, result.width) == (height, width)


def test_a_clock_that_jumps_back_costs_one_frame(stream: Stream, node: Any, probe: Any) -> None:
    before = probe.next_status(NODE)
    now_ns = stamp_of(stream.through(image_message(picture(13))))
    stream.send(image_message(picture(13)), stamp_ns=now_ns - 5_000_000_000)
    follower = stream.send(image_message(picture(13)), stamp_ns=now_ns - 5_000_000_000 + PERIOD_NS)
    stream.result_of(follower)
    after = probe.next_status(NODE)
    assert drops(after).get("clock_jumped_back", 0) - drops(before).get("clock_jumped_back", 0) == 1
    assert after.frames_out - before.frames_out == 2
    assert "jumped back" in node.log


def test_a_frame_that_was_overtaken_is_skipped(stream: Stream, node: Any, probe: Any) -> None:
    before = probe.next_status(NODE)
    now_ns = stamp_of(stream.through(image_message(picture(14))))
    stream.send(image_message(picture(14)), stamp_ns=now_ns - PERIOD_NS)
    stream.through(image_message(picture(14)))
    after = probe.next_status(NODE)
    assert drops(after).get("out_of_order", 0) - drops(before).get("out_of_order", 0) == 1


def test_stamps_of_another_clock_are_latency_from_reception(
    stream: Stream, node: Any, probe: Any, wait_until: Any
) -> None:
    timings = probe.listen(f"{NODE}/timing", FrameTiming)
    old_ns = probe.now_ns() - 400 * 86400 * 1_000_000_000
    stream.send(image_message(picture(15)), stamp_ns=old_ns)  # the jump back
    stamp_ns = stream.send(image_message(picture(15)), stamp_ns=old_ns + PERIOD_NS)
    stream.result_of(stamp_ns)
    timing = wait_until(
        lambda: next((timing for timing in timings if stamp_of(timing) == stamp_ns), None), "the frame's timing"
    )
    assert 0.0 <= timing.total_ms < 3_600_000.0
    assert "away from this node's clock" in node.log


def test_timing_tells_the_stages_of_every_frame(stream: Stream, node: Any, probe: Any, wait_until: Any) -> None:
    timings = probe.listen(f"{NODE}/timing", FrameTiming)

    def timing_of_a_new_frame() -> FrameTiming | None:
        stamp_ns = stamp_of(stream.through(image_message(picture(16))))
        return next((timing for timing in timings if stamp_of(timing) == stamp_ns), None)

    timing = wait_until(timing_of_a_new_frame, "a frame's timing")
    stages = (timing.wait_ms, timing.convert_ms, timing.infer_ms, timing.publish_ms)
    assert all(stage >= 0.0 for stage in stages)
    assert timing.total_ms >= sum(stages) + timing.transport_ms - 1.0
    assert (timing.worker, timing.engine) == (NODE, "student")
    assert timing.header.frame_id == "camera_color_optical_frame"


def test_status_accounts_for_every_frame(stream: Stream, node: Any, probe: Any) -> None:
    before, sent_before = probe.next_status(NODE), stream.sent
    for _ in range(5):
        stream.through(image_message(picture(17)))
    status = probe.next_status(NODE)
    assert status.frames_in == status.frames_out + sum(status.drop_counts)
    assert status.frames_in - before.frames_in == stream.sent - sent_before == 5
    assert (status.name, status.role, status.state) == (NODE, "style", "active")
    assert not status.imports_torch
    assert 0.0 < status.rss_mb < 400.0
    assert status.pid == node.process.pid


def test_the_policy_asked_for_is_granted_or_explained(stream: Stream, node: Any, probe: Any, wait_until: Any) -> None:
    assert probe.set_parameter(NODE, "scheduling.policy", "FIFO").successful
    status = wait_until(
        lambda: next((s for s in [probe.next_status(NODE)] if s.policy_asked == "FIFO"), None), "the policy asked for"
    )
    assert status.policy_granted == "FIFO" or "FIFO 50 was refused" in status.policy_reason
    stream.through(image_message(picture(18)))
    assert probe.set_parameter(NODE, "scheduling.policy", "OTHER").successful
    assert wait_until(lambda: probe.next_status(NODE).policy_granted == "OTHER", "the return to OTHER")


def test_the_lifecycle_can_be_walked_through(stream: Stream, node: Any, probe: Any, wait_until: Any) -> None:
    assert probe.state(NODE) == "active"
    assert probe.change_state(NODE, Transition.TRANSITION_DEACTIVATE)
    assert probe.state(NODE) == "inactive"
    assert probe.change_state(NODE, Transition.TRANSITION_CLEANUP)
    assert probe.state(NODE) == "unconfigured"
    assert probe.set_parameter(NODE, "engine", "no_such_engine").successful
    assert not probe.change_state(NODE, Transition.TRANSITION_CONFIGURE)
    assert probe.state(NODE) == "unconfigured"
    assert "no engine 'no_such_engine'" in node.log
    assert probe.set_parameter(NODE, "engine", "student").successful
    assert probe.change_state(NODE, Transition.TRANSITION_CONFIGURE)
    assert probe.change_state(NODE, Transition.TRANSITION_ACTIVATE)
    assert probe.state(NODE) == "active"
    Stream(probe, wait_until, node.namespace).through(image_message(picture(19)))


def test_without_autostart_the_node_waits(start_node: Any, probe: Any) -> None:
    node = start_node("style_transfer", {"autostart": False}, name="waiting")
    assert probe.state(node.name) == "unconfigured"
    assert probe.next_status(node.name).state == "unconfigured"


def test_an_unknown_style_ends_the_node_with_one_sentence(start_node: Any) -> None:
    node = start_node("style_transfer", {"style": "no_such_style"}, name="mistaken")
    assert node.wait() == 2
    assert "style 'no_such_style' is unknown: use one of" in node.log
    assert "Traceback" not in node.log


def test_a_misspelt_parameter_is_noticed(start_node: Any, probe: Any, wait_until: Any) -> None:
    node = start_node("style_transfer", {"autostart": False, "strenght": 0.5}, name="misspelt")
    wait_until(lambda: "there is no parameter 'strenght'" in node.log, "the warning")


def test_a_value_out_of_range_ends_the_node_with_one_sentence(start_node: Any) -> None:
    node = start_node("style_transfer", {"blend": 7.0}, name="out_of_range")
    assert node.wait() == 2
    assert "parameter blend must lie within 0..1" in node.log
    assert "Traceback" not in node.log
