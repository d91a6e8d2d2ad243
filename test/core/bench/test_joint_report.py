# SPDX-License-Identifier: Apache-2.0
"""The report's figures against rows whose figures were worked out by hand."""

import json

import pytest

from muon_ad_core.bench.joint_report import Run, build_report, count_drops, percentile, rate, summarize
from muon_ad_core.bench.processes import ProcessUse
from muon_ad_core.bench.recording import Change, JointRecording, Status, Timing
from muon_ad_core.bench.witness import Stall, Stalls

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
BEGIN = 100 * SECOND
END = 102 * SECOND
CAMERA = "camera_color_optical_frame"


def key(number: int, frame_id: str = CAMERA) -> tuple[int, str]:
    """Frame `number` of a 10 Hz camera, the first one 50 ms after the beginning."""
    return BEGIN + 50 * MILLISECOND + number * SECOND // 10, frame_id


def make_run(**overrides: object) -> Run:
    """Twenty frames in two seconds; 3 is lost, 7 and 8 come in the wrong order, frame n takes 10 + n ms."""
    recording = JointRecording()
    for number in range(-5, 25):  # some before and after the measured time
        recording.frames[key(number)] = key(number)[0] + 2 * MILLISECOND
    order = [number for number in range(-5, 25) if number != 3]
    order[order.index(7)], order[order.index(8)] = 8, 7
    for sequence, number in enumerate(order, start=1):
        recording.style_timings.append(
            Timing(key(number), 10.0 + number, {"infer": 5.0, "wait": float(number)}, number > 17, sequence)
        )
        recording.stylized[key(number)] = key(number)[0] + (20 + number) * MILLISECOND
    for number in range(0, 20, 2):
        recording.detections[key(number)] = key(number)[0] + 30 * MILLISECOND
    recording.changes = [
        Change(BEGIN, "/recorder", "measuring", True),
        Change(BEGIN + SECOND // 2, "/style_transfer", "style", "starry_night"),
        Change(END, "/recorder", "measuring", False),
        Change(END + 1, "/style_transfer", "style", "late"),
    ]
    fields = {"recording": recording, "begin_ns": BEGIN, "end_ns": END, "stalls": Stalls("FIFO 98", 5.0)}
    return Run(**{**fields, **overrides})  # type: ignore[arg-type]


def test_counts_and_latencies_are_those_of_the_measured_frames():
    report = build_report(make_run())
    assert (report["frames_in"], report["frames_stylized"]) == (20, 19)
    assert report["loss"] == pytest.approx(0.05)
    # 19 latencies: 10, 11, 12, 14 ... 29 ms; the 10th smallest is 20, the 18th 28, the 19th 29
    assert report["latency_ms"]["count"] == 19
    assert [report["latency_ms"][name] for name in ("p50", "p90", "p99", "max")] == [20.0, 28.0, 29.0, 29.0]
    assert report["latency_received_ms"]["p50"] == pytest.approx(30.0)
    assert report["deadline_misses"] == 2
    assert report["stages_ms"]["infer"] == 5.0
    assert report["stages_ms"]["convert"] is None


def test_a_lost_or_overtaken_frame_misaligns_no_latency():
    report = build_report(make_run())
    latency_at = dict(zip(report["frames"]["at_s"], report["frames"]["latency_ms"]))
    for number in (2, 4, 7, 8, 19):
        assert latency_at[round(0.052 + number / 10, 4)] == 10.0 + number
    assert report["frames"]["lost_at_s"] == [pytest.approx(0.352)]


def test_frames_of_another_camera_with_equal_stamps_are_told_apart():
    run = make_run()
    for number in range(20):
        run.recording.frames[key(number, "csi_optical_frame")] = key(number)[0] + 2 * MILLISECOND
    report = build_report(run)
    assert (report["frames_in"], report["frames_stylized"]) == (40, 19)


def test_a_picture_without_a_recorded_timing_still_came_out():
    run = make_run()
    missing = [timing for timing in run.recording.style_timings if timing.key == key(5)]
    run.recording.style_timings.remove(missing[0])
    report = build_report(run)
    assert report["frames_stylized"] == 19
    assert report["timings_not_recorded"] == 1
    assert report["latency_ms"]["count"] == 18


def test_a_frame_known_only_from_its_timing_came_out():
    run = make_run()
    del run.recording.stylized[key(5)]
    report = build_report(run)
    assert report["frames_stylized"] == 19
    assert report["latency_received_ms"]["count"] == 18


def test_rates_count_intervals():
    report = build_report(make_run())
    assert report["detection_rate_hz"] == pytest.approx(5.0)  # ten searches, 0.2 s apart
    assert rate([0, SECOND, 2 * SECOND]) == pytest.approx(1.0)
    assert rate([SECOND]) == rate([]) == 0.0


def test_series_have_one_entry_a_second():
    series = build_report(make_run())["per_second"]
    assert series["frames_in"] == [10, 10]
    assert series["frames_stylized"] == [9, 10]
    assert series["detections"] == [5, 5]
    assert series["latency_max_ms"] == [19.0, 29.0]


def test_drops_are_growth_of_counters_over_the_measured_time():
    def status(at_s: float, **drops: int) -> Status:
        return Status(round(at_s * SECOND), "/style_transfer", "style", drops=drops)

    statuses = [
        status(98.5, superseded=2),
        status(99.5, superseded=3, failed=1),
        status(100.5, superseded=5, failed=1),
        status(102.5, superseded=6, failed=1, max_rate=4),
        status(103.5, superseded=90),
    ]
    assert count_drops(statuses, BEGIN, END) == {"style_transfer": {"superseded": 3, "max_rate": 4}}


def test_drops_of_a_restarted_node_count_from_zero():
    statuses = [
        Status(BEGIN - 1, "/detector", "detection", drops={"superseded": 50}),
        Status(BEGIN + SECOND, "/detector", "detection", drops={"superseded": 2}),
        Status(END, "/detector", "detection", drops={"superseded": 3}),
    ]
    assert count_drops(statuses, BEGIN, END) == {"detector": {"superseded": 3}}


def test_missing_frames_that_no_counter_explains_are_said_to_be_unaccounted():
    run = make_run()
    run.recording.statuses = [Status(BEGIN - 1, "/style_transfer", "style"), Status(END, "/style_transfer", "style")]
    assert build_report(run)["drops"] == {"unaccounted": 1}
    run.recording.statuses[1] = Status(END, "/style_transfer", "style", drops={"superseded": 1})
    assert build_report(run)["drops"] == {"superseded": 1}


def test_policies_memory_and_torch_are_those_of_the_nodes():
    statuses = [
        Status(BEGIN, "/style_transfer", "style", asked="FIFO", granted="FIFO 50", rss_mb=150.0, deadline_ms=33.0),
        Status(BEGIN, "/detector", "detection", asked="FIFO", granted="OTHER", reason="no right", rss_mb=120.0),
    ]
    run = make_run(uses={"detector": ProcessUse(130.0, 12.5), "recorder": ProcessUse(90.0, None)})
    run.recording.statuses = statuses
    report = build_report(run)
    assert report["policies"]["style_transfer"] == {"asked": "FIFO", "granted": "FIFO 50", "reason": ""}
    assert report["policies"]["detector"]["reason"] == "no right"
    assert report["rss_mb"] == {"style_transfer": 150.0, "detector": 130.0, "recorder": 90.0}
    assert report["imports_torch"] is False
    assert report["deadline_ms"] == 33.0
    run = make_run(torch_nodes=["detector"])
    assert build_report(run)["imports_torch"] is True


def test_stalls_and_changes_outside_the_measured_time_are_left_out():
    events = [Stall(BEGIN - 1, 50.0), Stall(BEGIN + SECOND, 8.0), Stall(BEGIN + SECOND + 1, 12.0), Stall(END, 70.0)]
    report = build_report(make_run(stalls=Stalls("FIFO 98", 5.0, events)))
    assert (report["stalls"]["count"], report["stalls"]["total_ms"], report["stalls"]["worst_ms"]) == (2, 20.0, 12.0)
    assert [change["value"] for change in report["changes"]] == ["starry_night"]
    assert report["changes"][0] == {
        "at_s": 0.5,
        "node": "style_transfer",
        "parameter": "style",
        "value": "starry_night",
    }


def test_goals_say_what_was_missed():
    met = {goal["name"]: goal["met"] for goal in build_report(make_run())["goals"]}
    assert met["frames stylised"] is False  # 95 %
    assert met["detections beside it"] is False  # 5 Hz
    assert met["nodes that load PyTorch"] is True


def test_an_empty_run_gives_a_report_without_invented_figures():
    report = build_report(Run(JointRecording(), BEGIN, END, Stalls("OTHER", 5.0)))
    assert report["frames_in"] == report["frames_stylized"] == 0
    assert report["loss"] is None
    assert report["latency_ms"]["p50"] is None
    assert not any(goal["met"] for goal in report["goals"][:4])
    json.dumps(report, allow_nan=False)


def test_percentiles_are_measured_values():
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 51) == 3.0
    assert percentile([5.0], 99) == 5.0
    assert summarize([3.0, float("nan"), 1.0])["count"] == 2


def test_the_window_is_what_the_recorder_was_told():
    recording = make_run().recording
    assert recording.window() == (BEGIN, END)
    recording.changes = recording.changes[:2]
    assert recording.window() == (BEGIN, max(recording.frames.values()))
    recording.changes = []
    assert recording.window() is None
