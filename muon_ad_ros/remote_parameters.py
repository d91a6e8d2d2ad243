# SPDX-License-Identifier: Apache-2.0
"""Set parameters of another node. rclpy has a client for that from Iron on; Humble has not."""

from __future__ import annotations

from collections.abc import Mapping

from rcl_interfaces.srv import SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
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
