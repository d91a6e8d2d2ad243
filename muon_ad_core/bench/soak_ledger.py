# SPDX-License-Identifier: Apache-2.0
"""The ledger of a soak run: every fault and status as a line, and what must always hold, checked over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muon_ad_core.errors import ParameterError

MOST_PENDING = 2  # frames a worker may hold: one in its mailbox, one in work
SETTLED_S = 15.0  # a process's memory counts from here on
LONG_ENOUGH_S = 45.0  # shorter spans tell nothing about growth
FEWEST_ROWS = 6

Row = Mapping[str, Any]


class Ledger:
    """Writes one JSON line for each event; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises ParameterError when the file cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise ParameterError(f"the ledger {path} cannot be written: {error.strerror}") from None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, kind: str, row: Row) -> None:
        """Add a line of a kind: "fault", "status" or "process"."""
        self._file.write(json.dumps({"kind": kind, **row}) + "\n")
        self._file.flush()


class FrameAccounts:
    """Frames of every process: those that came in, but neither went out, nor were dropped for a cause, nor can be in
    work. Takes constant memory for each process, however long the run is."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int], tuple[int, int]] = {}  # least and most so far
        self._frames_in: dict[tuple[str, int], int] = {}

    def add(self, status: Row) -> None:
        """Take in a status: node, pid, frames_in, frames_out and drops by cause."""
        life = (status["node"], status["pid"])
        pending = status["frames_in"] - status["frames_out"] - sum(status["drops"].values())
        least, most = self._pending.get(life, (pending, pending))
        self._pending[life] = (min(least, pending), max(most, pending))
        self._frames_in[life] = status["frames_in"]

    @property
    def unaccounted(self) -> int:
        """The worst of each process, summed."""
        return sum(max(0, most - MOST_PENDING) + max(0, -least) for least, most in self._pending.values())

    @property
    def frames(self) -> int:
        """Frames that came in to any process."""
        return sum(self._frames_in.values())


def lives(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """Rows by (node, process id), in the order in which they came."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["node"], row["pid"]), []).append(row)
    return found


def growth(processes: Sequence[Row], field: str) -> dict[str, float]:
    """By how much `field` ("own_mb", memory that is not shared, or "descriptors") grew in a process of each node.

    As a share. Like is compared with like: rows of one process with pictures of one size, after it has settled and has
    met every size that it meets in its life, and from its second stay at this size if there are several (what is
    compiled anew lies elsewhere in memory than what a process began with); the first third of them with the last third,
    median of each. Of all processes of a node and all sizes the longest span counts. A node without a span that is long
    enough is left out.
    """
    shares: dict[str, float] = {}
    spans: dict[str, float] = {}
    for (node, _), rows in lives(processes).items():
        for alike in _by_size(_warm(rows)).values():
            span = alike[-1]["at_s"] - alike[0]["at_s"]
            if span < max(LONG_ENOUGH_S, spans.get(node, 0.0)) or len(alike) < FEWEST_ROWS:
                continue
            third = len(alike) // 3
            before = _median([row[field] for row in alike[:third]])
            after = _median([row[field] for row in alike[-third:]])
            spans[node], shares[node] = span, (after - before) / before if before else 0.0
    return shares


def _without_first_stays(life: Sequence[Row]) -> Sequence[Row]:
    """The rows of a life, of each size without the first stay there when there are further ones."""
    stays: list[list[Row]] = []
    for row in life:
        if not stays or stays[-1][0]["picture_size"] != row["picture_size"]:
            stays.append([])
        stays[-1].append(row)
    sizes = [stay[0]["picture_size"] for stay in stays]
    kept = (stay for index, stay in enumerate(stays) if sizes[index] in sizes[:index] or sizes.count(sizes[index]) == 1)
    return [row for stay in kept for row in stay]


def _warm(life: Sequence[Row]) -> Sequence[Row]:
    """The rows of a life that are compared, see `growth`."""
    first_met = {row["picture_size"]: row["at_s"] for row in reversed(life)}
    begin = max(life[0]["at_s"] + SETTLED_S, *first_met.values())
    return [row for row in _without_first_stays(life) if row["at_s"] >= begin]


def _by_size(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["picture_size"], []).append(row)
    return found


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
