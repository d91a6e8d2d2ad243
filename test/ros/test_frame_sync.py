# SPDX-License-Identifier: Apache-2.0
"""frame_sync over real DDS: sets keep their stamps, every frame is counted, loops and the clock's gate."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from muon_ad_msgs.msg import ClockStatus, FrameSet, SyncStatus
from sensor_msgs.msg import CameraInfo, Image

from muon_ad_ros.clock_gate import STALE, ClockGate

START = 1_600_000_000_000_000_000
PERIOD = 33_333_333
APART = 4_000_000  # colour after depth
FATES = ("matched", "unmatched", "overflow", "late", "duplicate", "out_of_order", "cleared", "gated", "pending")


def stamped(message_type: type, stamp_ns: int, frame_id: str = "some_frame") -> Any:
    message = message_type()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    return message


def stamp_of(message: Any) -> int:
    return to_ns(message.header.stamp)


def to_ns(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class Cameras:
    """Publishes pictures of two cameras to a frame_sync, and hears what it makes of them."""

    def __init__(self, node: Any, probe: Any, wait_until: Any) -> None:
        self._wait_until = wait_until
        self.sets: list[FrameSet] = probe.listen(f"{node.namespace}/synced/set", FrameSet)
        self.statuses: list[SyncStatus] = probe.listen(f"{node.namespace}/sync/status", SyncStatus)
        self._depth = probe.publisher(f"{node.namespace}/depth/image_rect_raw", Image)
        self._color = probe.publisher(f"{node.namespace}/color/image_raw", Image)
        # Publishing counts only once the sets come back: discovery has two directions.
        wait_until(lambda: self.status() is not None, "a status of frame_sync")
        wait_until(lambda: probe.node.count_publishers(f"{node.namespace}/synced/set") > 0, "the sets' publisher")

    def take(self, index: int, origin: int = START) -> None:
        """Both cameras take a picture."""
        depth_ns = origin + index * PERIOD
        self._depth.publish(stamped(Image, depth_ns))
        self._color.publish(stamped(Image, depth_ns + APART))

    def play(self, begin: int, end: int) -> None:
        """Both cameras take the pictures begin to end - 1, each after the sets of those before have come back."""
        before = len(self.sets)
        for index in range(begin, end):
            self.take(index)
            # A set waits for the next frame of depth: a closer one could come.
            wanted = before + index - begin
            self._wait_until(lambda n=wanted: len(self.sets) >= n, f"the set of picture {index - 1}")

    def status(self) -> SyncStatus | None:
        return self.statuses[-1] if self.statuses else None

    def settled(self, received: int) -> SyncStatus:
        """A status after `received` frames of each camera."""
        return self._wait_until(
            lambda: next((s for s in reversed(self.statuses) if min(s.received, default=0) >= received), None),
            f"{received} frames received",
        )


def reliable(namespace: str) -> dict[str, str]:
    """Parameters that make the node's image subscriptions reliable, so that a busy machine loses no frame."""
    topics = ("color/image_raw", "depth/image_rect_raw")
    return {f"qos_overrides./{namespace}/{topic}.subscription.reliability": "reliable" for topic in topics}


@pytest.fixture(scope="module")
def node(start_node: Any) -> Any:
    return start_node("frame_sync", reliable("test_frame_sync"))


@pytest.fixture(scope="module")
def cameras(node: Any, probe: Any, wait_until: Any) -> Cameras:
    return Cameras(node, probe, wait_until)


def count(status: SyncStatus, fate: str, stream: str = "color") -> int:
    return getattr(status, fate)[list(status.streams).index(stream)]


def check_books(status: SyncStatus) -> None:
    for stream in status.streams:
        assert count(status, "received", stream) == sum(count(status, fate, stream) for fate in FATES)


def test_pairing_resumes_within_a_period_of_each_round_of_a_loop(cameras: Cameras) -> None:
    rounds, frames = 10, 20
    for _ in range(rounds):
        before = len(cameras.sets)
        cameras.play(0, frames)
        assert stamp_of(cameras.sets[before]) <= START + PERIOD
    status = cameras.settled(rounds * frames)
    check_books(status)
    assert status.jumps == rounds - 1
    assert count(status, "matched") == rounds * (frames - 1)
    assert count(status, "cleared") == rounds - 1
    assert status.slop_ms == pytest.approx(1e3 / 60, abs=0.01)


def test_sets_keep_stamps_pictures_and_calibrations(node: Any, cameras: Cameras, probe: Any, wait_until: Any) -> None:
    origin = START + 1000 * PERIOD
    images = probe.listen(f"{node.namespace}/synced/color/image_raw", Image, reliable=False)
    infos = probe.listen(f"{node.namespace}/synced/color/camera_info", CameraInfo, reliable=False)
    calibration = probe.publisher(f"{node.namespace}/color/camera_info", CameraInfo)
    index = 0

    def arrived() -> bool:
        nonlocal index
        calibration.publish(stamped(CameraInfo, origin))
        cameras.take(index, origin)
        index += 1
        time.sleep(0.02)
        return len(images) >= 3 and len(infos) >= 3

    wait_until(arrived, "synced pictures and calibrations")
    assert (stamp_of(images[-1]) - APART - origin) % PERIOD == 0
    assert images[-1].header.frame_id == infos[-1].header.frame_id == "some_frame"
    assert {stamp_of(info) for info in infos} & {stamp_of(image) for image in images}
    newest = cameras.sets[-1]
    assert newest.streams == ["color", "depth"]
    assert to_ns(newest.stamps[0]) - to_ns(newest.stamps[1]) == newest.spread_ns == APART
    assert stamp_of(newest) == to_ns(newest.stamps[1])


def test_the_slop_changes_live(node: Any, cameras: Cameras, probe: Any, wait_until: Any) -> None:
    origin = START + 5000 * PERIOD
    assert probe.set_parameter(node.name, "slop_ms", 1.0).successful
    wait_until(lambda: cameras.status().slop_ms == 1.0, "the new slop in the status")
    unmatched = count(cameras.status(), "unmatched")
    received = count(cameras.status(), "received")
    for index in range(5):
        cameras.take(index, origin)
    status = cameras.settled(received + 5)
    assert count(status, "unmatched") > unmatched
    check_books(status)
    assert probe.set_parameter(node.name, "slop_ms", 0.0).successful


def test_the_gate_lets_frames_pass_only_while_the_clock_is_locked(
    node: Any, cameras: Cameras, probe: Any, wait_until: Any
) -> None:
    origin = START + 9000 * PERIOD
    assert probe.set_parameter(node.name, "require_clock_locked", True).successful
    wait_until(lambda: not cameras.status().open, "the gate closed")
    assert "no clock/status was heard" in cameras.status().reason
    clock = probe.publisher(f"{node.namespace}/clock/status", ClockStatus)
    index = 0

    def take_with(state: int, reason: str = "") -> None:
        nonlocal index
        clock.publish(ClockStatus(state=state, reason=reason))
        cameras.take(index, origin)
        index += 1
        time.sleep(0.02)

    sets = len(cameras.sets)
    wait_until(lambda: take_with(ClockStatus.LOCKED) or len(cameras.sets) > sets, "a set while the clock is locked")
    wait_until(lambda: take_with(ClockStatus.LOCKED) or cameras.status().open, "the gate open")
    gated = count(cameras.status(), "gated")
    wait_until(
        lambda: take_with(ClockStatus.HOLDOVER, "the master is silent") or count(cameras.status(), "gated") > gated,
        "frames held back",
    )
    wait_until(lambda: not cameras.status().open, "the gate closed again")
    assert "the master is silent" in cameras.status().reason
    check_books(cameras.status())
    assert probe.set_parameter(node.name, "require_clock_locked", False).successful


def test_a_gate_closes_when_nothing_is_heard() -> None:
    gate = ClockGate()
    assert "no clock/status" in gate.closed(0.0)
    gate.remember(True, "", 10.0)
    assert gate.closed(10.0 + STALE) == ""
    assert "is 4 s old" in gate.closed(14.0)
    gate.remember(False, "no master", 20.0)
    assert gate.closed(20.0) == "the clock is not locked: no master"


def test_useless_streams_are_one_sentence(start_node: Any) -> None:
    node = start_node("frame_sync", {"streams": ["color", "sonar"]}, namespace="test_frame_sync_streams")
    assert node.wait() == 2
    assert "streams must name two or more of color, depth" in node.log
    assert "Traceback" not in node.log


def test_simulated_time_set_back_clears_what_waits(start_node: Any, probe: Any, wait_until: Any) -> None:
    from rosgraph_msgs.msg import Clock

    namespace = "test_frame_sync_clock"
    arguments = ["-p", "use_sim_time:=true", "-r", "/clock:=clock"]
    node = start_node("frame_sync", reliable(namespace), namespace=namespace, arguments=arguments)
    cameras = Cameras(node, probe, wait_until)
    clock = probe.publisher(f"{node.namespace}/clock", Clock)
    back_ns = 300_000_000  # less than what the stamps alone would tell from frames out of order
    clock.publish(Clock(clock=stamped(Image, START + 19 * PERIOD).header.stamp))
    cameras.play(0, 20)
    clock.publish(Clock(clock=stamped(Image, START + 19 * PERIOD - back_ns).header.stamp))
    before = len(cameras.sets)
    past = itertools.cycle(range(19 - back_ns // PERIOD, 19))

    def paired() -> bool:
        index = next(past)
        clock.publish(Clock(clock=stamped(Image, START + index * PERIOD).header.stamp))
        cameras.take(index)
        time.sleep(0.02)
        return len(cameras.sets) > before

    wait_until(paired, "a set after the jump")
    assert stamp_of(cameras.sets[before]) < START + 19 * PERIOD
