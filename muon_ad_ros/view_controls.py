# SPDX-License-Identifier: Apache-2.0
"""The controls of the live view: parameters and styles of other nodes, followed and changed over ROS.

Whatever changes them (the page, `ros2 param set`, another page) shows everywhere, because the nodes' own
/parameter_events are what the page follows.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from muon_ad_msgs.srv import ListStyles, LoadStyle
from rcl_interfaces.msg import ParameterDescriptor, ParameterEvent
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_parameter_events
from rclpy.task import Future

from muon_ad_core.errors import ParameterError, UserError
from muon_ad_core.view.server import Answer

from . import view_messages
from .remote_parameters import ParameterReader, RemoteParameters

STYLE_NODE = "style_transfer"
CONTROLS = {
    STYLE_NODE: ("style", "style_b", "blend", "strength", "palette", "level", "temporal_smoothing", "engine"),
    "detector": ("score_threshold", "iou_threshold"),
}


class RemoteControls:
    """The parameters in CONTROLS, and the list of styles.

    `parameters_changed(node)` and `styles_changed()` are called in the executor's thread when they are known or other.
    """

    def __init__(
        self, node: Node, parameters_changed: Callable[[str], None], styles_changed: Callable[[], None]
    ) -> None:
        self.styles: list[str] = []
        self._parameters_changed = parameters_changed
        self._styles_changed = styles_changed
        self._parameters: dict[str, dict[str, tuple[Any, ParameterDescriptor]]] = {name: {} for name in CONTROLS}
        self._setters = {name: RemoteParameters(node, name) for name in CONTROLS}
        self._readers = {name: ParameterReader(node, name, wanted) for name, wanted in CONTROLS.items()}
        self._load_style = node.create_client(LoadStyle, f"{STYLE_NODE}/load_style")
        self._list_styles = node.create_client(ListStyles, f"{STYLE_NODE}/list_styles")
        namespace = node.get_namespace().rstrip("/")
        self._names = {f"{namespace}/{name}": name for name in CONTROLS}  # by fully qualified name
        node.create_subscription(ParameterEvent, "/parameter_events", self._follow, qos_profile_parameter_events)

    def value(self, node: str, parameter: str) -> Any:
        """A parameter's value, None while it is not known."""
        return self._parameters[node].get(parameter, (None, None))[0]

    def describe(self, node: str) -> dict[str, Any]:
        """All known parameters of a node, for the page."""
        return {name: view_messages.parameter(*known) for name, known in self._parameters[node].items()}

    def look(self) -> None:
        """Ask for what is not known yet; to be called now and then."""
        for name, reader in self._readers.items():
            if not self._parameters[name] and reader.reachable():
                reader.read(partial(self._learn, name))
        if not self.styles:
            self._ask_for_styles()

    def forget(self, node: str) -> None:
        """The node was started again: what is known of it is out of date."""
        self._parameters[node] = {}
        if node == STYLE_NODE:
            self.styles = []

    def set(self, node: str, values: Mapping[str, Any]) -> concurrent.futures.Future[Answer]:
        """Set parameters of a node; raises UserError when they are not ours to set, or the node cannot be reached."""
        known = self._parameters.get(node, {})
        unknown = [name for name in values if name not in CONTROLS.get(node, ())]
        if node not in CONTROLS or unknown:
            raise ParameterError(f"{node} has no control '{(unknown or ['?'])[0]}' here: use ros2 param set")
        if not self._setters[node].reachable():
            raise UserError(f"{node} does not answer: it has ended, or runs in another namespace")
        typed = {
            name: float(value) if isinstance(value, int) and isinstance(known.get(name, (None,))[0], float) else value
            for name, value in values.items()
        }
        return _answer_of(self._setters[node].set(typed), _of_parameters)

    def load_style(self, name: str, picture: Path) -> concurrent.futures.Future[Answer]:
        """Make a style and choose it; raises UserError when style_transfer cannot be reached."""
        if not self._load_style.service_is_ready():
            raise UserError(f"{STYLE_NODE} does not answer: it has ended, or runs in another namespace")
        answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()

        def loaded(future: Future) -> None:
            response = future.result()
            if not response.success:
                _settle(answer, Answer(False, response.message))
                return
            self._ask_for_styles()
            choosing = self._setters[STYLE_NODE].set({"style": response.name})
            choosing.add_done_callback(lambda done: _settle(answer, _of_parameters(done.result())))

        request = LoadStyle.Request(path=str(picture), name=name)
        self._load_style.call_async(request).add_done_callback(loaded)
        return answer

    def _learn(self, node: str, known: dict[str, tuple[Any, ParameterDescriptor]]) -> None:
        self._parameters[node] = known
        self._parameters_changed(node)

    def _follow(self, event: ParameterEvent) -> None:
        node = self._names.get(event.node)
        if node is None or not self._parameters[node]:
            return
        known = self._parameters[node]
        changed = [entry for entry in (*event.new_parameters, *event.changed_parameters) if entry.name in known]
        for entry in changed:
            known[entry.name] = (parameter_value_to_python(entry.value), known[entry.name][1])
        if changed:
            self._parameters_changed(node)
        if any(entry.name in ("engine", "style") for entry in changed):
            self._ask_for_styles()

    def _ask_for_styles(self) -> None:
        if self._list_styles.service_is_ready():
            self._list_styles.call_async(ListStyles.Request()).add_done_callback(self._take_styles)

    def _take_styles(self, future: Future) -> None:
        names = list(future.result().names)
        if names != self.styles:
            self.styles = names
            self._styles_changed()


def _of_parameters(response: Any) -> Answer:
    return Answer(response.result.successful, response.result.reason)


def _answer_of(call: Future, read: Callable[[Any], Answer]) -> concurrent.futures.Future[Answer]:
    answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    call.add_done_callback(lambda done: _settle(answer, read(done.result())))
    return answer


def _settle(answer: concurrent.futures.Future[Answer], value: Answer) -> None:
    """Hand over an answer, unless whoever asked has given up."""
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        answer.set_result(value)
