# SPDX-License-Identifier: Apache-2.0
"""A witness of machine stalls: a process that only wakes every few milliseconds and notes when it woke late.

It runs at a real-time priority above the measured processes where that is permitted. What still delays it
then is not their doing: another guest of the same host, firmware, or the kernel itself. Without the
permission it also sees ordinary competition for the processor; `Stalls.policy` tells which it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from muon_ad_core.realtime.policy import MAX_PRIORITY, PolicyRequest, apply_policy

PERIOD = 0.005  # seconds
THRESHOLD = 0.005  # seconds; a wake-up that is later than this counts as a stall


@dataclass(frozen=True)
class Stall:
    """The witness should have woken at `time_ns` (system clock) and woke `milliseconds` late."""

    time_ns: int
    milliseconds: float


@dataclass(frozen=True)
class Stalls:
    """What a witness saw."""

    policy: str  # scheduling policy the witness ran under
    threshold_ms: float
    events: list[Stall] = field(default_factory=list)

    def between(self, begin_ns: int, end_ns: int) -> list[Stall]:
        """The stalls that began in a span of system time."""
        return [stall for stall in self.events if begin_ns <= stall.time_ns < end_ns]

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Stalls:
        """The inverse of `dataclasses.asdict`."""
        return cls(entry["policy"], entry["threshold_ms"], [Stall(**stall) for stall in entry["events"]])


class Witness:
    """Runs a witness process: `with Witness() as witness: ...`, then `witness.stalls`.

    The process ends when its standard input is closed, and so also when this process dies.
    """

    def __init__(self) -> None:
        self.stalls = Stalls("not run", THRESHOLD * 1e3)

    def __enter__(self) -> Witness:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "muon_ad_core.bench.witness"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the measured processes
        )
        return self

    @property
    def pid(self) -> int:
        """Process id of the witness."""
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        output = self._process.communicate()[0]
        self.stalls = Stalls.from_json(json.loads(output))


def watch(stop: Callable[[], bool]) -> Stalls:
    """Wake every PERIOD until `stop()` is true, and return the stalls."""
    grant = apply_policy(PolicyRequest("FIFO", MAX_PRIORITY - 1))
    stalls = Stalls(str(grant), THRESHOLD * 1e3)
    while not stop():
        began = time.monotonic()
        time.sleep(PERIOD)
        late = time.monotonic() - began - PERIOD
        if late > THRESHOLD:
            stalls.events.append(Stall(time.time_ns() - round(late * 1e9), late * 1e3))
    return stalls


def main() -> None:
    """Watch until standard input is closed, then print the stalls as JSON."""
    closed = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        closed.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    print(json.dumps(asdict(watch(closed.is_set))))


if __name__ == "__main__":
    main()
