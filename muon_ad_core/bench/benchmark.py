# SPDX-License-Identifier: Apache-2.0
"""What every benchmark hands back, and the one JSON layout it is written in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muon_ad_core.errors import ParameterError

SCHEMA = "muon-ad-benchmark"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """The figures of one benchmark; all values are plain JSON, and names of keys say the unit."""

    config: Mapping[str, Any]
    """What was asked for, enough to repeat it."""
    results: Mapping[str, Any]
    """Everything measured."""
    summary: Mapping[str, float | int | str | None]
    """The few figures that goals are about, flat."""
    text: str
    """The same for a terminal."""


def write_measurement(path: Path, name: str, machine: Mapping[str, Any], measurement: Measurement) -> None:
    """Write benchmark `name` as JSON; ParameterError when the file cannot be written."""
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "benchmark": name,
        "machine": dict(machine),
        "config": dict(measurement.config),
        "results": dict(measurement.results),
        "summary": dict(measurement.summary),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise ParameterError(f"--json {path} cannot be written: {error.strerror}") from None
