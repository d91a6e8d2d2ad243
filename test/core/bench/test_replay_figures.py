# SPDX-License-Identifier: Apache-2.0
"""The figures of a replay run from hand-made records: losses and delays are traced to where they happened."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from muon_ad_core.bench.replay_figures import (
    MACHINE,
    SOURCE,
    TRANSPORT_IN,
    TRANSPORT_OUT,
    RunRecord,
    Sent,
    Timed,
    describe_run,
    locate_delays,
    locate_losses,
)
from muon_ad_core.bench.replay_results import histogram
from muon_ad_core.bench.replay_schedule import LOOPING, SWEEPING, fixed_rate, timeline
from muon_ad_core.bench.witness import Stall

MS = 1_000_000
PERIOD = 33 * MS
COUNT = 60
LATE = 30  # number of the frame that something happens to
STAGES = {"transport": 2.0, "wait": 0.5, "convert": 0.5, "infer": 5.0, "publish": 1.0}
STAMP0 = 1_700_000_000_000_000_000


def make_record(
    extra_ms: dict[str, float] | None = None, late_by: int = LATE, without: tuple[str, ...] = (), **fields: Any
) -> RunRecord:
    """Every frame takes 10 ms; frame `late_by` takes `extra_ms` more in the named stages, and misses `without`."""
    sent, seen, received, timings = [], {}, {}, {}
    for number in range(COUNT):
        key, due_ns = (STAMP0 + number * PERIOD, "camera"), number * PERIOD
        extra = (extra_ms or {}) if number == late_by else {}
        sent_ns = due_ns + round(extra.get(SOURCE, 0.0) * MS)
        stages = {name: value + extra.get(name, 0.0) for name, value in STAGES.items()}
        total = sum(stages.values()) + extra.get(TRANSPORT_IN, 0.0)
        stages["transport"] += extra.get(TRANSPORT_IN, 0.0)
        gone = without if number == late_by else ()
        sent.append(Sent(key, due_ns, sent_ns))
        if "seen" not in gone:
            seen[key] = sent_ns + round((2.0 + extra.get(TRANSPORT_IN, 0.0)) * MS)
        if "timings" not in gone:
            timings[key] = Timed(total, stages)
        if "received" not in gone:
            received[key] = sent_ns + round((total + 1.0 + extra.get(TRANSPORT_OUT, 0.0)) * MS)
    return RunRecord("style_transfer", sent, seen, received, timings, **fields)


def test_an_undisturbed_run() -> None:
    figures = describe_run(make_record(), deadline_ms=33.0)
    assert (figures["frames_sent"], figures["frames_received"], figures["missed"]) == (COUNT, COUNT, 0)
    assert figures["stamps_ns"] == [STAMP0, STAMP0 + (COUNT - 1) * PERIOD]
    assert figures["rate_hz"] == pytest.approx(1000 / 33)
    assert figures["latency_ms"]["p50"] == figures["latency_ms"]["max"] == pytest.approx(10.0)
    assert figures["jitter_ms"]["max"] == 0.0
    assert figures["data_age_ms"]["max"] == pytest.approx(43.0)  # the next result comes a period later
    assert (figures["lost"], figures["late"], figures["deadline_misses"]) == ({}, {}, 0)


@pytest.mark.parametrize(
    ("without", "place"),
    [
        (("seen", "timings", "received"), TRANSPORT_IN),
        (("timings", "received"), "style_transfer"),
        (("received",), TRANSPORT_OUT),
    ],
)
def test_a_lost_frame_is_traced_to_where_it_was_seen_last(without: tuple[str, ...], place: str) -> None:
    record = make_record(without=without)
    assert locate_losses(record) == {place: 1}
    assert locate_delays(record) == {}
    assert describe_run(record, 33.0)["latency_ms"]["max"] == pytest.approx(10.0)  # the drop misaligns nothing


@pytest.mark.parametrize(
    ("extra", "cause"),
    [
        (SOURCE, SOURCE),
        (TRANSPORT_IN, TRANSPORT_IN),
        ("transport", "style_transfer: reception"),  # the monitor had it, the node's process did not take it
        ("wait", "style_transfer: wait"),
        ("infer", "style_transfer: infer"),
        (TRANSPORT_OUT, TRANSPORT_OUT),
    ],
)
def test_a_late_frame_is_traced_to_what_took_the_time(extra: str, cause: str) -> None:
    assert locate_delays(make_record({extra: 80.0})) == {cause: 1}


def test_a_stall_of_the_machine_explains_what_is_late_during_it() -> None:
    stall = Stall(STAMP0 + LATE * PERIOD + 3 * MS, 80.0)
    assert locate_delays(make_record({"infer": 80.0}, stalls=[stall])) == {MACHINE: 1}
    lost = make_record(without=("timings", "received"), stalls=[stall])
    assert locate_losses(lost) == {MACHINE: 1}
    elsewhere = Stall(STAMP0 + (LATE + 20) * PERIOD, 80.0)
    assert locate_delays(make_record({"infer": 80.0}, stalls=[elsewhere])) == {"style_transfer: infer": 1}


def test_keys_of_ros2_benchmark_by_its_definitions() -> None:
    keys = describe_run(make_record(without=("received",)), 33.0)["ros2_benchmark"]
    assert (keys["NUM_FRAMES_SENT"], keys["NUM_MISSED_FRAMES"]) == (COUNT, 1)
    assert keys["RECEIVED_DURATION"] == pytest.approx((COUNT - 1) * 33.0)
    assert keys["MEAN_FRAME_RATE"] == pytest.approx((COUNT - 1) / (COUNT - 1) / 33.0 * 1e3)  # N / duration, as there
    assert keys["MEAN_LATENCY"] == pytest.approx(10.0)
    assert keys["MAX_JITTER"] == pytest.approx(33.0)


def test_a_run_without_results_has_no_figures_but_counts() -> None:
    record = make_record()
    figures = describe_run(RunRecord("style_transfer", record.sent, record.seen, {}), 33.0)
    assert (figures["missed"], figures["latency_ms"]["p50"], figures["ros2_benchmark"]) == (COUNT, None, {})
    assert figures["lost"] == {"style_transfer": COUNT}


def test_orders_of_play() -> None:
    assert [turn.frame for turn in islice(fixed_rate(LOOPING, 3, 10.0), 7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [turn.frame for turn in islice(fixed_rate(SWEEPING, 3, 10.0), 7)] == [0, 1, 2, 1, 0, 1, 2]
    assert [turn.frame for turn in islice(fixed_rate(SWEEPING, 1, 10.0), 3)] == [0, 0, 0]
    assert [turn.at_s for turn in islice(fixed_rate(LOOPING, 3, 10.0), 3)] == pytest.approx([0.0, 0.1, 0.2])
    turns = list(islice(timeline([5, 5 + 40 * MS, 5 + 100 * MS], 20.0), 5))
    assert [turn.frame for turn in turns] == [0, 1, 2, 0, 1]
    assert [turn.at_s for turn in turns] == pytest.approx([0.0, 0.04, 0.1, 0.15, 0.19])


def test_histograms_hold_every_value() -> None:
    entry = histogram([0.0, 0.5, 1.0, 7.9, 8.1, 250.0])
    assert sum(entry.counts) == 6
    assert entry.edges == sorted(entry.edges)
    assert len(entry.edges) == len(entry.counts) + 1
