# SPDX-License-Identifier: Apache-2.0
"""Settings in a manifest, read into dataclasses: unknown names and wrong values are refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from muon_ad_core.errors import EngineError

Settings = TypeVar("Settings")


def read_settings(kind: type[Settings], entry: Any, where: str) -> Settings:
    """An instance of the dataclass `kind` from a manifest's entry; lists become tuples, None takes all defaults.

    where: names the entry in the error. Raises EngineError for unknown names, and when `kind` raises TypeError or
    ValueError for the values.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if entry is None:
        entry = {}
    if not isinstance(entry, Mapping):
        raise EngineError(f"{where} must be an object with some of {', '.join(names)}: mend the manifest")
    unknown = [name for name in entry if name not in names]
    if unknown:
        raise EngineError(f"{where} has no setting '{unknown[0]}': use some of {', '.join(names) or 'none'}")
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})
    except (TypeError, ValueError) as error:
        raise EngineError(f"{where} is wrong: {error}") from None


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def check_numbers(name: str, value: Any, count: int = 0) -> None:
    """Raise ValueError unless `value` is a tuple of numbers, `count` of them (0: any number but none)."""
    numbers = isinstance(value, tuple) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in value
    )
    if not numbers or not value or (count and len(value) != count):
        raise ValueError(f"{name} must be {f'{count} numbers' if count else 'numbers'}, not {value!r}")
