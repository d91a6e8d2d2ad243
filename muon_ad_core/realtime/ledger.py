# SPDX-License-Identifier: Apache-2.0
"""Frame ledger: every frame that came in went out, was dropped for a named cause, or is being worked on."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class LedgerEntry:
    """One consistent reading of a `FrameLedger`: counts since the ledger was made."""

    frames_in: int
    frames_out: int
    drops: dict[str, int]
    faults: dict[str, int]

    @property
    def pending(self) -> int:
        """Frames neither delivered nor dropped yet; never negative, at most those in work."""
        return self.frames_in - self.frames_out - sum(self.drops.values())


class FrameLedger:
    """Thread-safe counts of frames in, frames out, drops by cause, and faults that cost no frame."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames_in = 0
        self._frames_out = 0
        self._drops: dict[str, int] = {}
        self._faults: dict[str, int] = {}

    def received(self, count: int = 1) -> None:
        """`count` frames came in."""
        with self._lock:
            self._frames_in += count

    def delivered(self) -> None:
        """A frame that came in was published."""
        with self._lock:
            self._frames_out += 1

    def dropped(self, cause: str, count: int = 1) -> None:
        """`count` frames that came in will not go out, because of `cause` (a short lower_snake word)."""
        with self._lock:
            self._drops[cause] = self._drops.get(cause, 0) + count

    def faulty(self, cause: str) -> None:
        """The input had a fault, but no frame was dropped for it."""
        with self._lock:
            self._faults[cause] = self._faults.get(cause, 0) + 1

    def read(self) -> LedgerEntry:
        """All counts at one instant."""
        with self._lock:
            return LedgerEntry(self._frames_in, self._frames_out, dict(self._drops), dict(self._faults))
