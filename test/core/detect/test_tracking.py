# SPDX-License-Identifier: Apache-2.0
"""One id for one object: through motion, gaps and crossings; no id twice, whatever comes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.detect.tracking import MOST_TRACKS, Tracker

PERIOD_NS = 66_000_000


def box_at(x: float, y: float = 100.0, size: float = 40.0) -> list[float]:
    return [x, y, x + size, y + size]


def follow(tracker: Tracker, frames: list[list[list[float]]], name: str = "cup") -> list[list[int]]:
    """Ids of each frame's boxes, all of one class."""
    return [
        tracker.update(np.array(boxes).reshape(-1, 4), [name] * len(boxes), number * PERIOD_NS)
        for number, boxes in enumerate(frames, start=1)
    ]


def test_an_object_at_rest_keeps_its_id_and_another_gets_its_own() -> None:
    ids = follow(Tracker(), [[box_at(0)], [box_at(0), box_at(200)], [box_at(201), box_at(1)]])
    assert ids == [[1], [1, 2], [2, 1]]


def test_an_object_that_moves_by_more_than_it_overlaps_is_followed() -> None:
    positions = [0, 10, 25, 45, 70, 100, 130, 160, 190]  # at last 30 pixels a frame: overlap .14 without prediction
    assert follow(Tracker(), [[box_at(x)] for x in positions]) == [[1]] * len(positions)


def test_an_object_is_known_again_where_it_would_be_after_a_gap() -> None:
    moving = [[box_at(15 * number)] for number in range(8)]
    gap: list[list[list[float]]] = [[]] * 4
    ids = follow(Tracker(), moving + gap + [[box_at(15 * 12)]])
    assert ids[-1] == [1]


def test_an_object_lost_for_too_long_is_another_one() -> None:
    ids = follow(Tracker(memory=0.2), [[box_at(0)], [], [], [], [box_at(0)]])
    assert ids[-1] == [2]


def test_objects_that_pass_each_other_keep_their_ids() -> None:
    left_to_right = [box_at(20 * number, 100) for number in range(12)]
    right_to_left = [box_at(220 - 20 * number, 120) for number in range(12)]
    ids = follow(Tracker(), [list(pair) for pair in zip(left_to_right, right_to_left)])
    assert ids == [[1, 2]] * 12


def test_classes_are_kept_apart() -> None:
    tracker = Tracker()
    box = np.array([box_at(0)])
    assert tracker.update(box, ["cup"], PERIOD_NS) == [1]
    assert tracker.update(box, ["bottle"], 2 * PERIOD_NS) == [2]
    assert tracker.update(np.repeat(box, 2, axis=0), ["bottle", "cup"], 3 * PERIOD_NS) == [2, 1]


def test_when_stamps_run_back_objects_are_new_and_ids_go_on() -> None:
    tracker = Tracker()
    follow(tracker, [[box_at(0)]] * 5)
    assert follow(tracker, [[box_at(0)]] * 3) == [[2], [2], [2]]


def test_the_number_of_tracks_is_bounded_even_if_time_stands_still() -> None:
    tracker = Tracker()
    for number in range(30):
        boxes = np.array([box_at(50 * column, 50 * number) for column in range(100)])
        ids = tracker.update(boxes, ["cup"] * 100, PERIOD_NS)
        assert len(tracker) <= MOST_TRACKS
    assert len(set(ids)) == 100


coordinate = st.floats(-50, 700, width=32)
detection = st.tuples(coordinate, coordinate, coordinate, coordinate, st.sampled_from(["cup", "bottle"]))
frame = st.tuples(st.integers(-(10**9), 3 * 10**9), st.lists(detection, max_size=8))


@settings(max_examples=150)
@given(st.lists(frame, max_size=20), st.floats(0.01, 0.99), st.floats(0, 5))
def test_no_id_twice_in_a_frame_nor_for_two_objects(
    frames: list[tuple[int, list[tuple]]], iou_threshold: float, memory: float
) -> None:
    tracker = Tracker(iou_threshold, memory)
    stamp_ns = 10**18
    known: dict[int, tuple[str, int]] = {}  # id -> class, and number of the frame that had it last
    jumps = 0
    for step_ns, found in frames:
        jumps += step_ns < 0
        stamp_ns += step_ns
        given_before = tracker.given
        ids = tracker.update(np.array([d[:4] for d in found]).reshape(-1, 4), [d[4] for d in found], stamp_ns)
        assert len(set(ids)) == len(ids) == len(found)
        assert max(ids, default=0) <= tracker.given == given_before + sum(i > given_before for i in ids)
        for number, (*_, name) in zip(ids, found):
            if number in known:
                assert known[number] == (name, jumps)  # no change of class, and never again after a jump
            known[number] = (name, jumps)
