# SPDX-License-Identifier: Apache-2.0
"""The scheduler over real DDS: workers are found, told their policy, watched and reported."""

import os
import signal
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from muon_ad_msgs.msg import SchedulerStatus

from muon_ad_core.realtime.policy import may_use_real_time

SMALL_CAMERA = {"width": 64, "height": 48, "rate": 5.0}


@pytest.fixture(scope="module")
def camera(start_node: Any) -> Any:
    return start_node("scene_camera", SMALL_CAMERA, name="camera")


@pytest.fixture(scope="module")
def scheduler(start_node: Any, camera: Any) -> Any:
    return start_node("scheduler", {"source.policy": "FIFO", "source.priority": 7})


@pytest.fixture(scope="module")
def reports(scheduler: Any, probe: Any) -> list[SchedulerStatus]:
    return probe.listen(f"{scheduler.namespace}/scheduler/status", SchedulerStatus)


def worker_in(report: SchedulerStatus, name: str) -> Any:
    return next((worker for worker in report.workers if worker.name == name), None)


def test_a_worker_is_told_the_policy_of_its_role(
    scheduler: Any, camera: Any, reports: list[SchedulerStatus], probe: Any, wait_until: Any
) -> None:
    def told() -> Any:
        worker = worker_in(reports[-1], camera.name) if reports else None
        return worker if worker is not None and worker.policy_asked == "FIFO" else None

    worker = wait_until(told, "the camera's policy in the scheduler's report")
    assert probe.get_parameter(camera.name, "scheduling.priority") == 7
    if may_use_real_time(7) and not worker.policy_reason:
        assert (worker.policy_granted, worker.priority_granted) == ("FIFO", 7)
        for thread in os.listdir(f"/proc/{camera.process.pid}/task"):
            assert os.sched_getscheduler(int(thread)) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    else:
        assert worker.policy_granted == "OTHER"
        assert "was refused" in worker.policy_reason
    assert any("is asked to run FIFO 7" in decision for decision in reports[-1].decisions)
    assert camera.name in reports[-1].summary


def test_diagnostics_tell_the_state_and_the_remedy(
    scheduler: Any, camera: Any, reports: list[SchedulerStatus], probe: Any, wait_until: Any
) -> None:
    arrays = probe.listen("/diagnostics", DiagnosticArray)
    name = f"{camera.name.lstrip('/')}: real time"

    def diagnostic() -> Any:
        return next((status for array in arrays for status in array.status if status.name == name), None)

    status = wait_until(diagnostic, "the camera's diagnostic")
    values = {entry.key: entry.value for entry in status.values}
    assert values["state"] == "active"
    assert int(values["frames_out"]) >= 0
    refused = worker_in(reports[-1], camera.name).policy_reason
    assert status.level == (DiagnosticStatus.WARN if refused else DiagnosticStatus.OK)
    assert not refused or "rtprio" in status.message


def test_a_worker_that_was_killed_is_missed_and_told_again_after_its_return(
    scheduler: Any, camera: Any, reports: list[SchedulerStatus], start_node: Any, wait_until: Any
) -> None:
    camera.process.send_signal(signal.SIGKILL)
    camera.wait()
    wait_until(lambda: worker_in(reports[-1], camera.name) is None, "the camera's absence from the report")
    start_node("scene_camera", SMALL_CAMERA, name="camera")

    def asked_twice() -> bool:
        return sum(f"{camera.name} is asked" in decision for decision in reports[-1].decisions) == 2

    wait_until(asked_twice, "the policy told again")
    wait_until(lambda: worker_in(reports[-1], camera.name) is not None, "the camera in the report again")
    assert worker_in(reports[-1], camera.name).policy_asked in ("FIFO", "OTHER")


def test_a_new_policy_for_a_role_is_passed_on(
    scheduler: Any, camera: Any, reports: list[SchedulerStatus], probe: Any, wait_until: Any
) -> None:
    assert probe.set_parameter(scheduler.name, "source.policy", "BATCH").successful
    wait_until(lambda: worker_in(reports[-1], camera.name).policy_granted == "BATCH", "the new policy granted")
    result = probe.set_parameter(scheduler.name, "source.policy", "URGENT")
    assert not result.successful
    assert "OTHER, BATCH, IDLE, FIFO, RR, DEADLINE" in result.reason


def test_an_unprivileged_run_gets_one_warning_that_names_the_remedy(
    scheduler: Any, reports: list[SchedulerStatus]
) -> None:
    warnings = [line for line in scheduler.log.splitlines() if "[WARN]" in line]
    refused = any(worker.policy_reason for report in reports for worker in report.workers)
    assert len(warnings) == (1 if refused else 0)
    assert not refused or "limits.d" in warnings[0]


def test_detection_gets_slots_after_style_frames_when_told_so(
    scheduler: Any, start_node: Any, probe: Any, wait_until: Any
) -> None:
    style = start_node("style_transfer", {})
    detector = start_node("detector", {})
    assert probe.get_parameter(detector.name, "slots_of") == ""
    assert probe.set_parameter(scheduler.name, "admission", "always").successful
    wait_until(lambda: probe.get_parameter(detector.name, "slots_of") == style.name, "slots after style's frames")
    before = probe.next_status(detector.name).frames_out
    wait_until(lambda: probe.next_status(detector.name).frames_out > before + 2, "detections in slots")
    assert probe.set_parameter(scheduler.name, "admission", "never").successful
    wait_until(lambda: probe.get_parameter(detector.name, "slots_of") == "", "no more slots")


def test_a_disabled_scheduler_takes_everything_back(
    scheduler: Any, camera: Any, reports: list[SchedulerStatus], probe: Any, wait_until: Any
) -> None:
    assert probe.set_parameter(scheduler.name, "enabled", False).successful
    wait_until(lambda: probe.get_parameter(camera.name, "scheduling.policy") == "OTHER", "the ordinary policy")
    wait_until(lambda: not reports[-1].enabled, "the report that it is disabled")
    assert probe.set_parameter(scheduler.name, "enabled", True).successful
    wait_until(lambda: probe.get_parameter(camera.name, "scheduling.policy") == "BATCH", "the policy of before")


def test_a_hanging_worker_is_ended_and_reported(
    scheduler: Any, reports: list[SchedulerStatus], start_node: Any, probe: Any, wait_until: Any
) -> None:
    stopped = start_node("scene_camera", SMALL_CAMERA, name="stopped_camera")
    wait_until(lambda: worker_in(reports[-1], stopped.name) is not None, "the camera in the report")
    stopped.process.send_signal(signal.SIGSTOP)
    assert stopped.wait() == -signal.SIGKILL
    wait_until(lambda: reports[-1].restarts > 0, "the report of a restart")
    assert any(f"{stopped.name} hangs" in decision for decision in reports[-1].decisions)
