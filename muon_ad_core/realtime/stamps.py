# SPDX-License-Identifier: Apache-2.0
"""Order of frame stamps: tell a frame that comes too late from a clock that jumped back."""

from __future__ import annotations

IN_ORDER = ""
OUT_OF_ORDER = "out_of_order"
CLOCK_JUMPED_BACK = "clock_jumped_back"


class StampMonitor:
    """Compares every stamp with the newest one so far.

    A stamp a little older than the newest belongs to a frame that was overtaken on the way. One that is older by more
    than `jump` seconds means that the clock itself went back (a bag that loops, a stepped clock): order is judged
    from there on. Equal stamps are in order, because some drivers leave them zero.
    """

    def __init__(self, jump: float = 0.5) -> None:
        self._jump_ns = round(jump * 1e9)
        self._newest: int | None = None

    def judge(self, stamp_ns: int) -> str:
        """`IN_ORDER`, `OUT_OF_ORDER` or `CLOCK_JUMPED_BACK` for the next frame's stamp in nanoseconds."""
        newest = self._newest
        if newest is None or stamp_ns >= newest:
            self._newest = stamp_ns
            return IN_ORDER
        if newest - stamp_ns <= self._jump_ns:
            return OUT_OF_ORDER
        self._newest = stamp_ns
        return CLOCK_JUMPED_BACK
