# SPDX-License-Identifier: Apache-2.0
"""Pairing engine: sets of frames, one of each stream, that were taken closest to the same instant."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

from muon_ad_core.timing.matching import MATCHED, WAIT, decide

Item = TypeVar("Item")

QUEUE_FRAMES = 10
JUMP_NS = 500_000_000


@dataclass
class StreamCounts:
    """Fates of the frames of one stream: `received` is the sum of all the others."""

    received: int = 0
    matched: int = 0
    """Given out in a set."""
    unmatched: int = 0
    """No frame of some other stream is within the slop."""
    overflow: int = 0
    """Given up while waiting for another stream, because the queue was full."""
    late: int = 0
    """Came after the frame it belongs to was given up by overflow."""
    duplicate: int = 0
    """Has the stamp of its stream's newest frame."""
    out_of_order: int = 0
    """Older than its stream's newest frame."""
    cleared: int = 0
    """Waited, or still came from before, when a stream's clock jumped back."""
    pending: int = 0
    """Waiting."""

    def accounted(self) -> int:
        """Frames with a fate, and those waiting."""
        return sum(getattr(self, field.name) for field in fields(self)) - self.received


@dataclass(frozen=True)
class MatchedSet(Generic[Item]):
    """One frame of each stream, in the order of the streams."""

    stamps_ns: tuple[int, ...]
    items: tuple[Item, ...]

    @property
    def spread_ns(self) -> int:
        """From the earliest stamp to the latest one."""
        return max(self.stamps_ns) - min(self.stamps_ns)


class _Stream(Generic[Item]):
    """Waiting frames of one stream, oldest first, and what was seen of it."""

    def __init__(self) -> None:
        self.frames: deque[tuple[int, Item]] = deque()
        self.newest_ns: int | None = None
        self.given_up_ns: int | None = None  # newest stamp lost by overflow
        self.before_jump = False  # another stream's clock jumped back, this one's not yet
        self.counts = StreamCounts()

    def clear(self) -> None:
        self.counts.cleared += len(self.frames)
        self.frames.clear()
        self.given_up_ns = None


class PairingEngine(Generic[Item]):
    """Gives out each frame at most once, and counts what becomes of every frame.

    A set waits until each stream has shown frames late enough that none to come could make a closer one (see
    muon_ad_core.timing.matching). Frames of a stream must come in order; a stamp far back means that the clock was
    set back (a bag that loops): all that waits is cleared, once, and pairing goes on from there. Thread-safe.
    """

    def __init__(
        self,
        streams: Sequence[str],
        period_ns: int,
        on_match: Callable[[MatchedSet[Item]], None],
        slop_ns: int | None = None,
        queue_frames: int = QUEUE_FRAMES,
        jump_ns: int = JUMP_NS,
    ) -> None:
        """An engine for frames of `streams`.

        Args:
            streams: two or more different names.
            period_ns: between frames of the slowest stream.
            on_match: called for every set in their order, by one thread at a time; it may call the engine.
            slop_ns: largest spread of a set; half a period by default.
            queue_frames: so many frames of a stream wait at most.
            jump_ns: a stamp further back than this means that the clock was set back.

        Raises:
            ValueError: fewer than two streams, a name twice, or a number that is not positive.
        """
        if len(set(streams)) < 2 or len(set(streams)) != len(streams):
            raise ValueError(f"pairing needs two or more streams of different names, not {list(streams)}")
        self.slop_ns = period_ns // 2 if slop_ns is None else slop_ns
        if min(period_ns, queue_frames, jump_ns) <= 0 or self.slop_ns < 0:
            raise ValueError("period, queue and jump must be positive, and the slop not negative")
        self._names = tuple(streams)
        self._streams: dict[str, _Stream[Item]] = {name: _Stream() for name in streams}
        self._on_match = on_match
        self._queue_frames = queue_frames
        self._jump_ns = jump_ns
        self._lock = threading.Lock()
        self._delivery = threading.RLock()  # a callback may add frames
        self._outbox: deque[MatchedSet[Item]] = deque()
        self.jumps = 0
        """How often a clock was set back."""

    def add(self, name: str, stamp_ns: int, item: Item) -> None:
        """A frame of stream `name` came; sets that are complete by it are given out. KeyError for an unknown name."""
        with self._lock:
            stream = self._streams[name]
            stream.counts.received += 1
            if not self._admit(stream, stamp_ns):
                return
            stream.newest_ns = stamp_ns
            stream.frames.append((stamp_ns, item))
            self._match()
            if len(stream.frames) > self._queue_frames:
                stream.given_up_ns = stream.frames.popleft()[0]
                stream.counts.overflow += 1
                self._match()
        self._deliver()

    def clear(self) -> None:
        """Give up all frames that wait and take the streams as new."""
        with self._lock:
            for stream in self._streams.values():
                stream.clear()
                stream.newest_ns = None
                stream.before_jump = False

    def counts(self) -> dict[str, StreamCounts]:
        """The counts of every stream at one instant."""
        with self._lock:
            readings = {}
            for name, stream in self._streams.items():
                reading = StreamCounts(**vars(stream.counts))
                reading.pending = len(stream.frames)
                readings[name] = reading
            return readings

    def _admit(self, stream: _Stream[Item], stamp_ns: int) -> bool:
        """Whether a frame may wait for its partners; if not, it is counted."""
        counts = stream.counts
        if stream.newest_ns is not None and stamp_ns < stream.newest_ns - self._jump_ns:
            self._follow_jump(stream, stamp_ns)
        elif stream.before_jump and not self._caught_up(stamp_ns):
            stream.newest_ns = stamp_ns if stream.newest_ns is None else max(stream.newest_ns, stamp_ns)
            counts.cleared += 1
            return False
        elif stream.newest_ns is not None and stamp_ns <= stream.newest_ns:
            if stamp_ns == stream.newest_ns:
                counts.duplicate += 1
            else:
                counts.out_of_order += 1
            return False
        stream.before_jump = False
        others = [other for other in self._streams.values() if other is not stream]
        if any(other.given_up_ns is not None and stamp_ns <= other.given_up_ns for other in others):
            counts.late += 1
            stream.newest_ns = stamp_ns
            return False
        return True

    def _follow_jump(self, stream: _Stream[Item], stamp_ns: int) -> None:
        """The stream's clock was set back: clear once, at the first stream that shows it."""
        if not stream.before_jump:
            self.jumps += 1
            for other in self._streams.values():
                other.clear()
                other.before_jump = other.newest_ns is not None and other.newest_ns > stamp_ns + self._jump_ns
        stream.newest_ns = None

    def _caught_up(self, stamp_ns: int) -> bool:
        """Whether a stream that did not jump is no longer ahead of those that did."""
        newest = [other.newest_ns for other in self._streams.values() if not other.before_jump]
        return all(stamp_ns <= known + self._jump_ns for known in newest if known is not None)

    def _match(self) -> None:
        """Decide on all frames that can be decided on."""
        streams = [self._streams[name] for name in self._names]
        queues = [stream.frames for stream in streams]
        newest_ns = [None if stream.before_jump else stream.newest_ns for stream in streams]
        while True:
            decision, taken = decide(queues, newest_ns, self.slop_ns)
            if decision == WAIT:
                return
            for stream, number in zip(streams, taken):
                for _ in range(number):
                    stream.frames.popleft()
                stream.counts.unmatched += number
            if decision == MATCHED:
                chosen = [stream.frames.popleft() for stream in streams]
                for stream in streams:
                    stream.counts.matched += 1
                self._outbox.append(MatchedSet(*(tuple(column) for column in zip(*chosen))))

    def _deliver(self) -> None:
        """Call back for the sets in the outbox, in their order; other threads wait, so that it cannot grow."""
        with self._delivery:
            while True:
                with self._lock:
                    if not self._outbox:
                        return
                    matched = self._outbox.popleft()
                self._on_match(matched)
