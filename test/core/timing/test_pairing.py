# SPDX-License-Identifier: Apache-2.0
"""The pairing engine: no frame is lost uncounted or given out twice, nothing grows, jumps are survived."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.pairing import MatchedSet, PairingEngine

PERIOD = 33
SLOP = PERIOD // 2
QUEUE = 4
JUMP = 100
NAMES = ("color", "depth", "csi")


class Recorder:
    """An engine and all it gave out."""

    def __init__(self, streams: int = 2, **options: Any) -> None:
        self.sets: list[MatchedSet[int]] = []
        options = {"period_ns": PERIOD, "queue_frames": QUEUE, "jump_ns": JUMP} | options
        self.engine: PairingEngine[int] = PairingEngine(NAMES[:streams], on_match=self.sets.append, **options)
        self.added = 0

    def add(self, stream: int, stamp: int) -> None:
        self.engine.add(NAMES[stream], stamp, self.added)
        self.added += 1

    def count(self, fate: str) -> list[int]:
        return [getattr(counts, fate) for counts in self.engine.counts().values()]


# Adversarial stamps: near one another, equal, back, far back and far ahead.
STAMPS = st.one_of(st.integers(0, 60), st.integers(0, 400), st.integers(-(10**6), 10**6))


@settings(max_examples=300)
@given(st.integers(2, 3), st.lists(st.tuples(st.integers(0, 2), STAMPS), max_size=80))
def test_whatever_stamps_come_every_frame_has_one_fate(streams: int, frames: list[tuple[int, int]]) -> None:
    recorder = Recorder(streams)
    sent: list[tuple[int, int]] = []
    for stream, stamp in frames:
        stream %= streams
        recorder.add(stream, stamp)
        sent.append((stream, stamp))
        counts = recorder.engine.counts()
        assert sum(each.received for each in counts.values()) == len(sent)
        assert all(each.accounted() == each.received for each in counts.values())
        assert all(each.pending <= QUEUE for each in counts.values())
    given_out = [item for matched in recorder.sets for item in matched.items]
    assert len(given_out) == len(set(given_out))  # no frame twice, so no set twice
    assert recorder.count("matched") == [len(recorder.sets)] * streams
    for matched in recorder.sets:
        assert [sent[item] for item in matched.items] == list(enumerate(matched.stamps_ns))
        assert matched.spread_ns <= SLOP


ACTIONS = st.one_of(st.tuples(st.integers(0, 2), STAMPS), st.just("clear"), st.integers(0, 200))


@settings(max_examples=150)
@given(st.lists(ACTIONS, max_size=80))
def test_clearing_and_changing_the_slop_meanwhile_loses_no_frame(actions: list[Any]) -> None:
    recorder = Recorder(3)
    widest = SLOP
    for action in actions:
        if action == "clear":
            recorder.engine.clear()
        elif isinstance(action, int):
            recorder.engine.slop_ns = action
            widest = max(widest, action)
        else:
            recorder.add(*action)
        counts = recorder.engine.counts().values()
        assert sum(each.received for each in counts) == recorder.added
        assert all(each.accounted() == each.received and each.pending <= QUEUE for each in counts)
    given_out = [item for matched in recorder.sets for item in matched.items]
    assert len(given_out) == len(set(given_out))
    assert all(matched.spread_ns <= widest for matched in recorder.sets)


@settings(max_examples=100)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_sparse_streams_pair_exactly_as_their_stamps_say(steps: list[int], random: Any) -> None:
    """With gaps of more than twice the slop a frame has at most one partner."""
    recorder = Recorder(queue_frames=10, jump_ns=10**9)
    base, streams = 0, ([], [])
    for step in steps:
        base += step * 60
        for stream in streams:
            if random.random() < 0.9:
                stream.append(base + random.randrange(-12, 13))
    expected = [(a, b) for a in streams[0] for b in streams[1] if abs(a - b) <= SLOP]
    for stamp, stream in sorted([(a, 0) for a in streams[0]] + [(b, 1) for b in streams[1]]):
        recorder.add(stream, stamp)
    for end in (base + 1000, base + 2000):
        recorder.add(0, end)
        recorder.add(1, end)
    assert [matched.stamps_ns for matched in recorder.sets[:-2]] == expected


@settings(max_examples=100)
@given(st.lists(st.integers(1, 40), max_size=25), st.lists(st.integers(1, 40), max_size=25), st.data())
def test_the_interleaving_of_the_streams_does_not_matter(first: list[int], second: list[int], data: Any) -> None:
    stamps = [[sum(steps[: n + 1]) for n in range(len(steps))] + [5000, 6000] for steps in (first, second)]
    results = []
    for _ in range(2):
        recorder = Recorder(queue_frames=100, jump_ns=10**9)
        left = [list(each) for each in stamps]
        while left[0] or left[1]:
            stream = data.draw(st.integers(0, 1)) if left[0] and left[1] else int(not left[0])
            recorder.add(stream, left[stream].pop(0))
        results.append([matched.stamps_ns for matched in recorder.sets])
    assert results[0] == results[1]


def test_a_silent_stream_overflows_the_other_and_its_late_frames_are_counted() -> None:
    recorder = Recorder()
    for number in range(10):
        recorder.add(0, number * PERIOD)
    assert recorder.count("overflow") == [6, 0]
    recorder.add(1, 2 * PERIOD)
    assert recorder.count("late") == [0, 1]
    for number in range(6, 10):
        recorder.add(1, number * PERIOD + 1)
    recorder.add(0, 10 * PERIOD)
    assert recorder.count("matched") == [4, 4]


def test_duplicates_and_frames_out_of_order_are_counted() -> None:
    recorder = Recorder()
    for stamp in (100, 100, 70):
        recorder.add(0, stamp)
    assert recorder.count("duplicate") == [1, 0]
    assert recorder.count("out_of_order") == [1, 0]


@pytest.mark.parametrize("streams", [2, 3])
def test_a_looping_bag_pairs_again_within_one_period(streams: int) -> None:
    recorder = Recorder(streams)
    frames_per_loop, loops = 100, 10
    for _ in range(loops):
        for number in range(frames_per_loop):
            for stream in range(streams):
                recorder.add(stream, number * PERIOD + stream)
    assert recorder.engine.jumps == loops - 1
    assert len(recorder.sets) >= loops * (frames_per_loop - 1)


def test_streams_that_jump_one_after_the_other_clear_once() -> None:
    recorder = Recorder()
    for number in range(50):
        recorder.add(0, number * PERIOD)
        recorder.add(1, number * PERIOD)
    recorder.add(0, 0)
    recorder.add(1, 50 * PERIOD)  # still from the round before
    recorder.add(0, PERIOD)
    recorder.add(1, 0)
    recorder.add(1, PERIOD)
    assert recorder.engine.jumps == 1
    assert recorder.count("matched") == [52, 52]
    assert recorder.count("cleared") == [0, 1]


def test_one_wild_stamp_does_not_stop_pairing() -> None:
    for wild in (-(10**9), 10**9):
        recorder = Recorder()
        for number in range(100):
            recorder.add(0, wild if number == 50 else 10_000 + number * PERIOD)
            recorder.add(1, 10_000 + number * PERIOD)
        assert recorder.count("matched")[0] >= 97


def test_clear_gives_up_what_waits() -> None:
    recorder = Recorder()
    recorder.add(0, 500)
    recorder.engine.clear()
    recorder.add(0, 0)
    recorder.add(1, 0)
    assert recorder.count("cleared") == [1, 0]
    assert [matched.stamps_ns for matched in recorder.sets] == [(0, 0)]


def test_a_callback_may_use_the_engine() -> None:
    seen = []

    def again(matched: MatchedSet[int]) -> None:
        seen.append((matched.stamps_ns, engine.counts()["color"].matched))
        if len(seen) == 1:
            engine.add("color", PERIOD, 2)
            engine.add("csi", PERIOD, 3)

    engine: PairingEngine[int] = PairingEngine(("color", "csi"), PERIOD, again)
    engine.add("color", 0, 0)
    engine.add("csi", 0, 1)
    assert seen == [((0, 0), 1), ((PERIOD, PERIOD), 2)]


def test_a_callback_that_fails_loses_no_count() -> None:
    def fail(matched: MatchedSet[int]) -> None:
        raise RuntimeError("no room")

    engine: PairingEngine[int] = PairingEngine(("color", "csi"), PERIOD, fail)
    for number in range(3):
        engine.add("color", number * PERIOD, number)
        with pytest.raises(RuntimeError, match="no room"):
            engine.add("csi", number * PERIOD, number)
    assert engine.counts()["csi"].matched == 3


def test_threads_share_an_engine() -> None:
    recorder = Recorder(queue_frames=2000)
    frames = 1000

    def run(name: str) -> None:
        for number in range(frames):
            recorder.engine.add(name, number * PERIOD, number if name == "color" else -number)

    threads = [threading.Thread(target=run, args=(name,)) for name in NAMES[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.count("matched") == [frames, frames]
    assert [matched.items for matched in recorder.sets] == [(number, -number) for number in range(frames)]


def test_the_slop_is_half_a_period_by_default() -> None:
    engine: PairingEngine[int] = PairingEngine(("color", "csi"), 33_333_333, lambda matched: None)
    assert engine.slop_ns == 16_666_666


@pytest.mark.parametrize(
    ("streams", "options"),
    [(["color"], {}), (["color", "color"], {}), (["color", "csi"], {"queue_frames": 0})],
)
def test_a_useless_engine_is_refused(streams: list[str], options: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        PairingEngine(streams, PERIOD, lambda matched: None, **options)
