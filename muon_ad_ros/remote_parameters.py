# SPDX-License-Identifier: Apache-2.0
"""Set and read parameters of another node. rclpy has a client for that from Iron on; Humble has not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.task import Future

from .parameters import Value


class RemoteParameters:
    """The parameters of the node called `remote` (relative to the namespace of `node`, or absolute)."""

    def __init__(self, node: Node, remote: str) -> None:
        self._client = node.create_client(SetParametersAtomically, f"{remote}/set_parameters_atomically")

    def reachable(self) -> bool:
        """Whether the node can be asked now."""
        return self._client.service_is_ready()

    def wait(self, seconds: float) -> bool:
        """Wait until the node can be asked; False when it cannot within `seconds`."""
        return self._client.wait_for_service(seconds)

    def set(self, values: Mapping[str, Value | Parameter]) -> Future:
        """Set all of `values` or none; the future's `result().result` has `successful` and `reason`.

        A value is a plain one, or a Parameter where its type cannot be told from it (an empty list).
        """
        parameters = (v if isinstance(v, Parameter) else Parameter(name, value=v) for name, v in values.items())
        request = SetParametersAtomically.Request(parameters=[p.to_parameter_msg() for p in parameters])
        return self._client.call_async(request)


class ParameterReader:
    """Reads values and descriptors of parameters of the node called `remote`."""

    def __init__(self, node: Node, remote: str, names: Sequence[str]) -> None:
        self._names = list(names)
        self._values = node.create_client(GetParameters, f"{remote}/get_parameters")
        self._descriptors = node.create_client(DescribeParameters, f"{remote}/describe_parameters")

    def reachable(self) -> bool:
        """Whether the node can be asked now."""
        return self._values.service_is_ready() and self._descriptors.service_is_ready()

    def read(self, done: Callable[[dict[str, tuple[Value, ParameterDescriptor]]], None]) -> None:
        """Ask; `done` is called in the executor's thread with value and descriptor of each parameter."""

        def described(future: Future) -> None:
            descriptors = future.result().descriptors
            values = self._values.call_async(GetParameters.Request(names=self._names))
            values.add_done_callback(partial(answered, descriptors))

        def answered(descriptors: Sequence[ParameterDescriptor], future: Future) -> None:
            values = map(parameter_value_to_python, future.result().values)
            done(dict(zip(self._names, zip(values, descriptors))))

        request = DescribeParameters.Request(names=self._names)
        self._descriptors.call_async(request).add_done_callback(described)
