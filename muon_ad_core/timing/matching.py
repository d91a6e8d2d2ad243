# SPDX-License-Identifier: Apache-2.0
"""The decision of the pairing engine: which of the oldest frames belong together, by their stamps alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

WAIT = "wait"
MATCHED = "matched"
UNMATCHED = "unmatched"


class Frames(Protocol):
    """Waiting frames of one stream, oldest first; the first part of each is its stamp in nanoseconds."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[int, object]: ...


def decide(queues: Sequence[Frames], newest_ns: Sequence[int | None], slop_ns: int) -> tuple[str, list[int]]:
    """What to do about the oldest frames.

    The pivot is the latest of the streams' oldest frames: no set can do without it or a later one of its stream.
    Of the sets that hold the pivot the one of least spread is chosen, once no frame to come can make a closer one
    (after the ApproximateTime policy of ROS's message_filters; with the difference that no rate is assumed).

    Args:
        queues: waiting frames of each stream, by rising stamps.
        newest_ns: newest stamp seen of each stream; frames to come are later. None before the first.
        slop_ns: largest spread of a set.

    Returns:
        The decision, and of each stream how many frames from the oldest on remain unmatched by it:
        `WAIT` (none); `UNMATCHED`; `MATCHED`: after those, the oldest frame of each stream is one set.
    """
    none = [0] * len(queues)
    waiting = [index for index, queue in enumerate(queues) if not len(queue)]
    if len(waiting) == len(queues):
        return WAIT, none
    fronts = {index: queue[0][0] for index, queue in enumerate(queues) if len(queue)}
    oldest = min(fronts, key=fronts.__getitem__)
    limit = fronts[oldest] + slop_ns
    passed = any(seen is not None and seen >= limit for seen in (newest_ns[index] for index in waiting))
    if passed or max(fronts.values()) > limit:
        return UNMATCHED, [int(index == oldest) for index in range(len(queues))]
    if waiting:
        return WAIT, none
    closest = _closest_set(queues, newest_ns)
    return (WAIT, none) if closest is None else (MATCHED, closest)


def _closest_set(queues: Sequence[Frames], newest_ns: Sequence[int | None]) -> list[int] | None:
    """Places in the queues of the closest set that holds the pivot; None when a frame to come may make a closer one."""
    places = [0] * len(queues)
    stamps = [queue[0][0] for queue in queues]
    pivot = max(stamps)
    best, least = list(places), pivot - min(stamps)
    while min(stamps) < pivot:
        index = stamps.index(min(stamps))
        places[index] += 1
        if places[index] == len(queues[index]):
            seen = newest_ns[index]
            return None if seen is None or seen + 1 < pivot + least else best
        stamps[index] = queues[index][places[index]][0]
        spread = max(stamps) - min(stamps)
        if spread < least:
            best, least = list(places), spread
    return best
