# SPDX-License-Identifier: Apache-2.0
"""Admission in simulation on one processor without pre-emption: work never makes a frame late if it need not."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.realtime.admission import SlotAdmission

STEP = 0.0005  # seconds between looks


@dataclass
class Outcome:
    runs: list[tuple[float, float]] = field(default_factory=list)  # begin and length of every piece of work
    delays: list[float] = field(default_factory=list)  # how long each frame waited for work to end


def simulate(admission: SlotAdmission, period: float, style: float, work: float, seconds: float) -> Outcome:
    """Frames every `period` take `style`; work of length `work` is always waiting."""
    outcome = Outcome()
    busy_until, next_frame, now = 0.0, 0.0, 0.0
    while now < seconds:
        if now >= next_frame:
            begin = max(next_frame, busy_until)
            outcome.delays.append(begin - next_frame)
            busy_until = begin + style
            admission.frame_finished(next_frame, busy_until)
            next_frame += period
            now = busy_until
        elif now >= busy_until and admission.may_begin(now):
            outcome.runs.append((now, work))
            admission.ran(now, work)
            busy_until = now + work
            now = busy_until
        now += STEP
    return outcome


@given(st.floats(0.016, 0.1), st.floats(0.1, 0.6), st.floats(0.05, 1.0))
def test_work_that_fits_runs_often_and_delays_nothing(period: float, style_share: float, work_share: float) -> None:
    style = style_share * period
    work = work_share * (period - style) - 0.003
    if work <= 0.0:
        return
    outcome = simulate(SlotAdmission(least_rate=1.0), period, style, work, seconds=5.0)
    settled = outcome.delays[3:]
    assert max(settled) <= 0.003 + STEP
    assert len(outcome.runs) >= 0.5 * 5.0 / period


@given(st.floats(0.016, 0.05), st.floats(1.05, 3.0))
def test_work_that_never_fits_gets_its_least_rate_and_no_more(period: float, excess: float) -> None:
    style = 0.4 * period
    work = excess * (period - style)
    outcome = simulate(SlotAdmission(least_rate=2.0), period, style, work, seconds=10.0)
    assert 0.4 * 20 <= len(outcome.runs) <= 22


def test_without_any_slot_work_is_not_starved() -> None:
    admission = SlotAdmission(least_rate=1.0)
    now, begun = 0.0, []
    while now < 10.0:  # frames are finished only after the next one has come
        admission.frame_finished(now - 0.03, now)
        if admission.may_begin(now + 0.005):
            begun.append(now)
            admission.ran(now + 0.005, 0.004)
        now += 0.02
    assert 4 <= len(begun) <= 7


def test_work_is_free_while_no_frames_come() -> None:
    admission = SlotAdmission(least_rate=1.0)
    assert admission.may_begin(0.0)
    for frame in range(10):
        admission.frame_finished(frame * 0.033, frame * 0.033 + 0.01)
    admission.ran(0.32, 0.05)
    assert not admission.may_begin(0.34)
    assert admission.may_begin(0.34 + 0.6)


def test_one_outlier_does_not_shut_work_out() -> None:
    admission = SlotAdmission(least_rate=1.0)
    for seconds in (0.004, 0.004, 0.5, 0.004):
        admission.ran(0.0, seconds)
    assert admission.predicted == 0.004
