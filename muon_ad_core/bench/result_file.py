# SPDX-License-Identifier: Apache-2.0
"""Result files: the one JSON layout of every benchmark, written, validated and read back.

`result.schema.json` beside this file defines it (JSON Schema, draft 7); docs/benchmarks.md explains it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema

from muon_ad_core.bench.benchmark import Measurement
from muon_ad_core.bench.machine_facts import describe_machine
from muon_ad_core.errors import ParameterError, SourceError

SCHEMA = "muon-ad-benchmark"
SCHEMA_VERSION = 2
SCHEMA_FILE = Path(__file__).with_name("result.schema.json")
MACHINE_FACTS = ("processor", "processors", "instructions", "memory_gb", "kernel", "system")

Document = dict[str, Any]
"""A result file's content: plain JSON that fits the schema."""


def make_document(name: str, facts: Mapping[str, Any], measurement: Measurement) -> Document:
    """The document of benchmark `name`; `facts` are `machine_facts.describe_machine`'s.

    Raises ValueError when the measurement does not fit the schema: a fault of the benchmark.
    """
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "benchmark": name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {key: value for key, value in facts.items() if key in MACHINE_FACTS},
        "versions": {key: value for key, value in facts.items() if key not in MACHINE_FACTS},
        "config": dict(measurement.config),
        "inputs": [dict(entry) for entry in measurement.inputs],
        "samples": {key: asdict(series) for key, series in measurement.samples.items()},
        "histograms": {key: asdict(histogram) for key, histogram in measurement.histograms.items()},
        "results": dict(measurement.results),
        "summary": dict(measurement.summary),
        "stalls": asdict(measurement.stalls) if measurement.stalls else None,
        "pictures": [
            {"caption": picture.caption, "jpeg_base64": base64.b64encode(picture.jpeg).decode()}
            for picture in measurement.pictures
        ],
    }
    plain = json.loads(json.dumps(document, allow_nan=False))  # tuples become lists, and NaN is refused
    if problem := find_problem(plain):
        raise ValueError(f"benchmark {name} made a document that breaks its schema: {problem}")
    return plain


def publish(name: str, measurement: Measurement, path: Path | None) -> None:
    """Print a measurement of benchmark `name`, and write it to `path` unless that is None.

    Raises ParameterError when the file cannot be written.
    """
    print(measurement.text)
    if path is not None:
        write_document(path, make_document(name, describe_machine(os.environ), measurement))


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document; raises ParameterError when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ParameterError(f"--json {path} cannot be written: {error.strerror}") from None


def read_document(path: Path) -> Document:
    """Read and validate a result file; raises SourceError when it is none, or of another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SourceError(f"{path} is not JSON: give a file that 'muon-ad bench ... --json' wrote") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise SourceError(f"{path} is not a result file: give a file that 'muon-ad bench ... --json' wrote")
    if document.get("schema_version") != SCHEMA_VERSION:
        found = document.get("schema_version")
        raise SourceError(f"{path} has schema version {found}, this program reads {SCHEMA_VERSION}: measure again")
    if problem := find_problem(document):
        raise SourceError(f"{path} is damaged: {problem}")
    return document


def find_problem(document: Any) -> str:
    """What breaks the schema in a document, in words; empty when nothing does."""
    try:
        _validator()(document)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message)
    for name, histogram in document["histograms"].items():  # what JSON Schema cannot say
        edges = histogram["edges"]
        if len(edges) != len(histogram["counts"]) + 1 or edges != sorted(edges):
            return f"data.histograms.{name} must have ascending edges, one more than counts"
    return ""


@cache
def _validator() -> Callable[[Any], Any]:
    return fastjsonschema.compile(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
