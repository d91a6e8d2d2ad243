# SPDX-License-Identifier: Apache-2.0
"""The tour against stand-ins for the nodes whose parameters it sets: asked again when an answer is late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from muon_ad_msgs.msg import SchedulerStatus, WorkerStatus
from muon_ad_msgs.srv import ListStyles
from rcl_interfaces.srv import SetParametersAtomically

NAMESPACE = "tour_late"
LATE = 4.0  # seconds: more than the tour waits before it asks again


class StandIns:
    """Nodes style_transfer, recorder and scheduler of one namespace, as far as the tour sees them."""

    def __init__(self, probe: Any, namespace: str) -> None:
        self.asked: list[str] = []
        self._late = LATE
        self._node = node = probe.node
        self._statuses = node.create_publisher(SchedulerStatus, f"{namespace}/scheduler/status", 1)
        style, recorder = (f"{namespace}/{name}/set_parameters_atomically" for name in ("style_transfer", "recorder"))
        self._services = [
            node.create_service(ListStyles, f"{namespace}/style_transfer/list_styles", self._list),
            node.create_service(SetParametersAtomically, style, self._set_style),
            node.create_service(SetParametersAtomically, recorder, self._set_recorder),
        ]
        self._timer = node.create_timer(0.2, self._publish)

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        for service in self._services:
            self._node.destroy_service(service)

    def _publish(self) -> None:
        workers = [WorkerStatus(role=role, state="active", frames_out=1) for role in ("style", "detection")]
        self._statuses.publish(SchedulerStatus(workers=workers))

    def _list(self, _: Any, response: Any) -> Any:
        response.names = ["ink", "oil"]
        return response

    def _set_style(self, request: Any, response: Any) -> Any:
        self.asked += [f"style_transfer.{parameter.name}" for parameter in request.parameters]
        response.result.successful = True
        return response

    def _set_recorder(self, request: Any, response: Any) -> Any:
        measuring = request.parameters[0].value.bool_value
        self.asked.append(f"recorder.{request.parameters[0].name}={measuring}")
        if measuring and self._late:
            late, self._late = self._late, 0.0
            time.sleep(late)
        response.result.successful = True
        return response


@pytest.fixture
def stand_ins(probe: Any) -> Iterator[StandIns]:
    made = StandIns(probe, f"/{NAMESPACE}")
    yield made
    made.close()


def test_a_late_answer_is_asked_for_again(stand_ins: StandIns, start_node: Any) -> None:
    tour = start_node("style_tour", {"seconds": 1.0, "settle": 0.0}, namespace=NAMESPACE)
    assert tour.wait() == 0, tour.log
    assert "recorder has not answered" in tour.log
    assert stand_ins.asked.count("recorder.measuring=True") == 2
    assert stand_ins.asked[-1] == "recorder.measuring=False"
    assert "style_transfer.style" in stand_ins.asked
