# SPDX-License-Identifier: Apache-2.0
"""Node parameters from a table: declared with range and description, validated, then taken over while running."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from muon_ad_core.errors import ParameterError, UserError

Value = Any  # bool, int, float, str, list[str] or list[int]
Values = Mapping[str, Value]

_LIST_TYPES = {str: Parameter.Type.STRING_ARRAY, int: Parameter.Type.INTEGER_ARRAY}


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a node.

    `default` decides the type (bool, int, float, str, or a list given with `item`). `minimum` and `maximum` bound
    numbers, `choices` strings. `fixed` says what to do instead when it cannot change while the node is configured;
    empty means that it can.
    """

    name: str
    default: Value
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    item: type = str
    fixed: str = ""

    def descriptor(self) -> ParameterDescriptor:
        """The ROS descriptor, as `ros2 param describe` shows it."""
        descriptor = ParameterDescriptor(name=self.name, description=self.description)
        constraints = [f"one of: {', '.join(self.choices)}"] if self.choices else []
        if self.fixed:
            constraints.append(f"not while configured: {self.fixed}")
        descriptor.additional_constraints = "; ".join(constraints)
        # An empty list carries no item type, so that ROS must leave the type of lists to `check`.
        descriptor.dynamic_typing = isinstance(self.default, list)
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                bounds = FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
                descriptor.floating_point_range = [bounds]
            elif isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))]
        return descriptor

    def check(self, value: Value) -> None:
        """Raise ParameterError with the reason when `value` is not allowed."""
        if isinstance(self.default, list):
            self._check_list(value)
        elif self.choices and value not in self.choices:
            raise ParameterError(f"{self.name} '{value}' is unknown: use one of {', '.join(self.choices)}")

    def _check_list(self, value: Value) -> None:
        if value is None or isinstance(value, (str, int, float)):
            raise ParameterError(f"{self.name} must be a list of {self.item.__name__}, not {value!r}")
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        for entry in value:
            if type(entry) is not self.item:
                raise ParameterError(f"{self.name} must be a list of {self.item.__name__}, but holds {entry!r}")
            if isinstance(entry, int) and not low <= entry <= high:
                raise ParameterError(f"{self.name} holds {entry}, outside {low:g}..{high:g}")


class LiveParameters:
    """The declared parameters of a node and their present values.

    `check(proposed, changed)` may raise a UserError to refuse a change; `changed(names)` is called after one.
    Both run in the executor's thread; values may be read from any thread.
    """

    def __init__(
        self,
        node: Node,
        specs: Sequence[ParameterSpec],
        check: Callable[[Values, frozenset[str]], None],
        changed: Callable[[frozenset[str]], None],
        configured: Callable[[], bool],
    ) -> None:
        self._node = node
        self._specs = {spec.name: spec for spec in specs}
        self._check = check
        self._changed = changed
        self._configured = configured
        self._unlocked = False
        self._values = {spec.name: _declare(node, spec) for spec in specs}
        if hasattr(node, "add_pre_set_parameters_callback"):  # not in Humble
            node.add_pre_set_parameters_callback(self._accept_whole_numbers)
        node.add_on_set_parameters_callback(self._set)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    @property
    def values(self) -> Values:
        """All values at one instant."""
        return self._values

    def store(self, name: str, value: Value) -> None:
        """Set a parameter from within the node, also one that is fixed while configured."""
        with self._unlock():
            self._node.set_parameters([Parameter(name, value=value)])

    @contextlib.contextmanager
    def _unlock(self) -> Iterator[None]:
        self._unlocked = True
        try:
            yield
        finally:
            self._unlocked = False

    def _accept_whole_numbers(self, parameters: list[Parameter]) -> list[Parameter]:
        """`ros2 param set NODE strength 1` sends an integer: take it for a float parameter."""
        return [
            Parameter(parameter.name, value=float(parameter.value)) if self._is_whole(parameter) else parameter
            for parameter in parameters
        ]

    def _is_whole(self, parameter: Parameter) -> bool:
        spec = self._specs.get(parameter.name)
        return spec is not None and isinstance(spec.default, float) and parameter.type_ is Parameter.Type.INTEGER

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        new = {entry.name: _plain(entry.value) for entry in parameters if entry.name in self._specs}
        proposed = {**self._values, **new}
        changed = frozenset(name for name, value in new.items() if value != self._values[name])
        try:
            for name in new:
                self._specs[name].check(new[name])
            self._refuse_fixed(changed)
            if not self._unlocked:
                self._check(proposed, changed)
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = proposed
        if changed:
            self._changed(changed)
        return SetParametersResult(successful=True)

    def _refuse_fixed(self, changed: frozenset[str]) -> None:
        if self._unlocked or not self._configured():
            return
        for name in changed:
            if self._specs[name].fixed:
                raise ParameterError(f"{name} cannot change while the node is configured: {self._specs[name].fixed}")


def _declare(node: Node, spec: ParameterSpec) -> Value:
    """Declare one parameter and return its value, taken from the command line or parameter file if given there.

    Raises ParameterError when that value is of the wrong type or outside the range.
    """
    try:
        try:
            value = node.declare_parameter(spec.name, spec.default, spec.descriptor()).value
        except InvalidParameterTypeException:
            given = node.declare_parameter(spec.name, None, ParameterDescriptor(dynamic_typing=True)).value
            node.undeclare_parameter(spec.name)
            if not isinstance(spec.default, float) or type(given) is not int:
                expected = type(spec.default).__name__
                raise ParameterError(f"parameter {spec.name} must be of type {expected}, not {given!r}") from None
            whole = float(given)
            value = node.declare_parameter(spec.name, whole, spec.descriptor(), ignore_override=True).value
    except InvalidParameterValueException:
        raise ParameterError(f"parameter {spec.name} must lie within {spec.minimum:g}..{spec.maximum:g}") from None
    value = _plain(value)
    spec.check(value)
    if value == []:  # tell the type, which an empty list does not show
        node.set_parameters([Parameter(spec.name, _LIST_TYPES[spec.item], [])])
    return value


def _plain(value: Value) -> Value:
    """Array-like parameter values as plain lists."""
    return value if value is None or isinstance(value, (str, int, float)) else list(value)
