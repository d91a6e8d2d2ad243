# SPDX-License-Identifier: Apache-2.0
"""Real nodes in processes of their own, and a probe in the test process that talks to them over DDS."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from muon_ad_msgs.msg import WorkerStatus
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from muon_ad_ros.bringup import NodeSpec
from muon_ad_ros.environment import child_environment
from muon_ad_ros.starter import StartOptions, node_command

PATIENCE = 90.0  # seconds; far more than anything here takes on a busy machine


def wait_until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Poll until `condition` holds and return its value; fail the test naming `what` did not come true."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true within {patience:g} s", pytrace=True)
        time.sleep(0.01)


class Probe:
    """A node in the test process that publishes, listens and calls services."""

    def __init__(self) -> None:
        self._context = rclpy.Context()  # the default one is left to the tests
        rclpy.init(context=self._context)
        self.node = rclpy.create_node("probe", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._statuses: dict[str, list[WorkerStatus]] = {}
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def listen(self, topic: str, message_type: type, reliable: bool = True, latched: bool = False) -> list[Any]:
        """A list to which every message of the topic is appended."""
        messages: list[Any] = []
        profile = QoSProfile(
            depth=100,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self.node.create_subscription(message_type, topic, lambda message: messages.append(message), profile)
        return messages

    def publisher(self, topic: str, message_type: type) -> Any:
        """A reliable publisher that has found at least one subscriber."""
        publisher = self.node.create_publisher(message_type, topic, QoSProfile(depth=10))
        wait_until(lambda: publisher.get_subscription_count() > 0, f"a subscriber to {topic}")
        return publisher

    def call(self, service: str, service_type: type, /, **fields: Any) -> Any:
        """Call a service and return its response."""
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = self.node.create_client(service_type, service)
        wait_until(client.service_is_ready, f"service {service}")
        future = client.call_async(service_type.Request(**fields))
        wait_until(future.done, f"an answer from {service}")
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any) -> SetParametersResult:
        message = Parameter(name, value=value).to_parameter_msg()
        return self.call(f"{node}/set_parameters", SetParameters, parameters=[message]).results[0]

    def get_parameter(self, node: str, name: str) -> Any:
        return parameter_value_to_python(self.call(f"{node}/get_parameters", GetParameters, names=[name]).values[0])

    def state(self, node: str) -> str:
        return self.call(f"{node}/get_state", GetState).current_state.label

    def change_state(self, node: str, transition: int) -> bool:
        return self.call(f"{node}/change_state", ChangeState, transition=Transition(id=transition)).success

    def next_status(self, node: str) -> WorkerStatus:
        """A status that was made after this call."""
        now_ns = self.now_ns()
        if node not in self._statuses:
            self._statuses[node] = self.listen(f"{node}/status", WorkerStatus)
        return wait_until(lambda: _newer(self._statuses[node], now_ns), f"a status of {node}")


def _newer(statuses: list[WorkerStatus], than_ns: int) -> WorkerStatus | None:
    for status in statuses:
        stamp = status.header.stamp
        if stamp.sec * 1_000_000_000 + stamp.nanosec > than_ns:
            return status
    return None


class RunningNode:
    """A node of this project in a process of its own."""

    def __init__(self, spec: NodeSpec, namespace: str, log: Path, arguments: list[str]) -> None:
        self.name = f"/{namespace}/{spec.name}"
        self.namespace = f"/{namespace}"
        self._log = log
        command = [*node_command(spec, StartOptions(namespace=namespace)), *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=child_environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def log(self) -> str:
        """Everything the node has printed so far."""
        return self._log.read_text(errors="replace")

    def wait(self) -> int:
        """Wait for the process to end by itself; returns its exit code."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Interrupt the node as Ctrl-C would; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


StartNode = Callable[..., RunningNode]


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """The probe, one for all tests."""
    instance = Probe()
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def start_node(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[StartNode]:
    """Start a node: `start_node(executable, {parameter: value}, name=..., namespace=..., arguments=[...])`.

    Names default to the executable's and the test module's. At the end every node must leave cleanly when
    interrupted, with exit code 0, unless the test has dealt with it.
    """
    nodes: list[RunningNode] = []
    module = request.module.__name__.rsplit(".", 1)[-1]

    def start(
        executable: str,
        parameters: dict[str, Any] | None = None,
        name: str = "",
        namespace: str = module,
        arguments: list[str] | None = None,
    ) -> RunningNode:
        spec = NodeSpec(name or executable, executable, parameters or {})
        log = tmp_path_factory.mktemp("node") / "log.txt"
        nodes.append(RunningNode(spec, namespace, log, arguments or []))
        return nodes[-1]

    yield start
    codes = {node.name: node.stop() for node in nodes if node.process.returncode is None}
    for node in nodes:
        if codes.get(node.name):
            sys.stdout.write(f"--- {node.name}\n{node.log}")
    assert not any(codes.values()), f"exit codes after an interrupt: {codes}"


@pytest.fixture(name="wait_until", scope="session")
def wait_until_fixture() -> Callable[..., Any]:
    """`wait_until(condition, what)`: poll until the condition holds."""
    return wait_until
