# SPDX-License-Identifier: Apache-2.0
"""The state of the clock: hysteresis, ages, the dead master, TAI against UTC."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muon_ad_core.timing.ptp.client import Ptp4lStatus
from muon_ad_core.timing.ptp.management import (
    CurrentDataSet,
    DefaultDataSet,
    ParentDataSet,
    PortDataSet,
    PortState,
    TimeProperties,
    TimeStatus,
)
from muon_ad_core.timing.ptp.state import ClockJudge, ClockLimits, ClockState, Judgement, Observation

SECOND = 1_000_000_000
LIMITS = ClockLimits(samples=3, sync_timeout_ns=2 * SECOND, holdover_ns=10 * SECOND)
TAI = TimeProperties(37, utc_offset_valid=True, ptp_timescale=True, time_traceable=True)
UTC = TimeProperties(37, utc_offset_valid=False, ptp_timescale=False, time_traceable=False)


def status(
    state: PortState = PortState.SLAVE, ingress_ns: int = 1, offset_ns: int = 50, scale: TimeProperties = UTC
) -> Ptp4lStatus:
    identity, master = "a2f4c7.fffe.bfc90d", "7a67b1.fffe.26e909"
    return Ptp4lStatus(
        DefaultDataSet(1, identity, 0),
        CurrentDataSet(1, offset_ns, 1500),
        ParentDataSet(master, 248),
        scale,
        TimeStatus(offset_ns, ingress_ns, True, master),
        PortDataSet(identity, 1, state),
        properties=None,
    )


class Scenario:
    """Feeds a judge one observation a second; in each, a sync message has come in unless told otherwise."""

    def __init__(self, limits: ClockLimits = LIMITS) -> None:
        self.judge = ClockJudge(limits)
        self.now_ns = 1000 * SECOND
        self.ingress_ns = 1

    def see(
        self, state: PortState = PortState.SLAVE, offset_ns: int = 50, sync: bool = True, scale: TimeProperties = UTC,
        **more: object,
    ) -> Judgement:  # fmt: skip
        self.now_ns += SECOND
        self.ingress_ns += sync
        observation = Observation(self.now_ns, status(state, self.ingress_ns, offset_ns, scale))
        return self.judge.judge(replace(observation, **more))

    def see_nothing(self) -> Judgement:
        self.now_ns += SECOND
        return self.judge.judge(Observation(self.now_ns, None, failure="ptp4l is not running"))

    def lock(self, **more: object) -> None:
        for _ in range(5):
            judgement = self.see(**more)  # type: ignore[arg-type]
        assert judgement.state == ClockState.LOCKED


def test_without_ptp4l_the_state_is_unavailable() -> None:
    judgement = Scenario().see_nothing()
    assert (judgement.state, judgement.reason) == (ClockState.UNAVAILABLE, "ptp4l is not running")
    assert judgement.sync_age_ns is None


@pytest.mark.parametrize("state", [PortState.LISTENING, PortState.MASTER, PortState.PASSIVE, PortState.DISABLED])
def test_without_a_master_the_state_is_unlocked(state: PortState) -> None:
    judgement = Scenario().see(state)
    assert judgement.state == ClockState.UNLOCKED
    assert state.name in judgement.reason


def test_locked_after_so_many_good_sync_messages() -> None:
    scenario = Scenario()
    states = [scenario.see().state for _ in range(6)]
    # Of the first look nobody knows how old its sync message is.
    locking, locked = ClockState.LOCKING, ClockState.LOCKED
    assert states == [ClockState.UNLOCKED, locking, locking, locked, locked, locked]


def test_looking_more_often_does_not_lock_sooner() -> None:
    scenario = Scenario()
    states = [scenario.see(sync=number % 2 == 0).state for number in range(6)]
    assert ClockState.LOCKED not in states
    assert scenario.see().state == ClockState.LOCKED


def test_locking_while_ptp4l_calibrates() -> None:
    scenario = Scenario()
    judgements = [scenario.see(PortState.UNCALIBRATED) for _ in range(20)]
    assert {judgement.state for judgement in judgements[1:]} == {ClockState.LOCKING}
    assert "free_running" in judgements[-1].reason


def test_one_bad_offset_does_not_unlock_but_several_do() -> None:
    scenario = Scenario()
    scenario.lock()
    assert scenario.see(offset_ns=-5_000_000).state == ClockState.LOCKED
    assert scenario.see(offset_ns=500_000).state == ClockState.LOCKED  # between the limits
    states = [scenario.see(offset_ns=5_000_000).state for _ in range(3)]
    assert states == [ClockState.LOCKED, ClockState.LOCKED, ClockState.LOCKING]
    states = [scenario.see(offset_ns=500_000).state for _ in range(5)]
    assert set(states) == {ClockState.LOCKING}  # hysteresis: what keeps the lock does not make it
    states = [scenario.see().state for _ in range(3)]
    assert states == [ClockState.LOCKING, ClockState.LOCKING, ClockState.LOCKED]


def test_a_dead_master_is_found_although_ptp4l_reports_it_present() -> None:
    scenario = Scenario()
    scenario.lock()
    judgements = [scenario.see(sync=False) for _ in range(12)]
    states = [judgement.state for judgement in judgements]
    assert states == [ClockState.LOCKED] * 2 + [ClockState.HOLDOVER] * 8 + [ClockState.FAULT] * 2
    assert [judgement.sync_age_ns for judgement in judgements] == [(n + 1) * SECOND for n in range(12)]
    assert judgements[9].state_age_ns == 7 * SECOND
    assert "no sync message" in judgements[-1].reason


def test_a_port_that_left_its_master_holds_over_at_once() -> None:
    scenario = Scenario()
    scenario.lock()
    assert scenario.see(PortState.LISTENING, sync=False).state == ClockState.HOLDOVER


def test_a_monitor_that_starts_after_the_master_died_never_says_locked() -> None:
    scenario = Scenario()
    assert {scenario.see(sync=False).state for _ in range(20)} == {ClockState.UNLOCKED}


def test_ptp4l_s_end_is_holdover_then_fault_and_its_return_recovers() -> None:
    scenario = Scenario()
    scenario.lock()
    states = [scenario.see_nothing().state for _ in range(12)]
    assert states == [ClockState.LOCKED] * 2 + [ClockState.HOLDOVER] * 8 + [ClockState.FAULT] * 2
    assert scenario.see(PortState.LISTENING, sync=False).state == ClockState.FAULT
    states = [scenario.see().state for _ in range(3)]
    assert states == [ClockState.LOCKING, ClockState.LOCKING, ClockState.LOCKED]
    states = [scenario.see_nothing().state for _ in range(3)]
    assert states == [ClockState.LOCKED, ClockState.LOCKED, ClockState.HOLDOVER]  # the time to coast begins anew


def test_one_late_answer_of_ptp4l_does_not_unlock() -> None:
    scenario = Scenario()
    scenario.lock()
    judgement = scenario.see_nothing()
    assert judgement.state == ClockState.LOCKED
    assert "ptp4l is not running" in judgement.reason
    assert scenario.see().reason == "the clock follows its master"


def test_a_faulty_port_is_a_fault() -> None:
    judgement = Scenario().see(PortState.FAULTY)
    assert judgement.state == ClockState.FAULT
    assert "link" in judgement.reason


def test_a_pulled_cable_is_holdover_first() -> None:
    scenario = Scenario()
    scenario.lock()
    states = [scenario.see(PortState.FAULTY, sync=False).state for _ in range(12)]
    assert states == [ClockState.HOLDOVER] * 10 + [ClockState.FAULT] * 2


def test_software_clock_off_by_tai_minus_utc() -> None:
    scenario = Scenario()
    scenario.lock()
    judgement = scenario.see(offset_ns=37 * SECOND + 1234)
    assert judgement.state == ClockState.FAULT
    assert "TAI - UTC" in judgement.reason
    assert scenario.see().state == ClockState.LOCKING  # and the count begins anew


def test_system_clock_left_on_tai() -> None:
    """The card's clock is on TAI, as it should be, and phc2sys copies it without the 37 s."""
    scenario = Scenario()
    card = {"needs_phc2sys": True, "phc2sys_running": True}
    scenario.lock(scale=TAI, system_minus_hardware_ns=-37 * SECOND + 800, **card)
    judgement = scenario.see(scale=TAI, system_minus_hardware_ns=900, **card)
    assert judgement.state == ClockState.FAULT
    assert "phc2sys" in judgement.reason


def test_a_card_s_clock_on_utc_needs_no_37_seconds() -> None:
    scenario = Scenario()
    scenario.lock(scale=UTC, system_minus_hardware_ns=800, needs_phc2sys=True)
    judgement = scenario.see(scale=UTC, system_minus_hardware_ns=-37 * SECOND, needs_phc2sys=True)
    assert judgement.state == ClockState.FAULT


def test_a_master_that_does_not_know_tai_minus_utc() -> None:
    judgement = Scenario().see(scale=replace(TAI, utc_offset_s=0), system_minus_hardware_ns=0, needs_phc2sys=True)
    assert judgement.state == ClockState.FAULT
    assert "utc_offset" in judgement.reason


def test_a_card_s_clock_that_was_not_set_yet_is_no_fault() -> None:
    """Drivers start it from the system clock, and ptp4l reports its own time scale until it has a master."""
    scenario = Scenario()
    judgement = scenario.see(PortState.LISTENING, scale=TAI, system_minus_hardware_ns=5000, needs_phc2sys=True)
    assert judgement.state == ClockState.UNLOCKED


def test_without_phc2sys_the_card_s_clock_is_of_no_use() -> None:
    scenario = Scenario()
    for _ in range(10):
        judgement = scenario.see(scale=TAI, needs_phc2sys=True)
    assert judgement.state == ClockState.LOCKING
    assert "phc2sys does not run" in judgement.reason
    scenario.lock(scale=TAI, needs_phc2sys=True, phc2sys_running=True)


def test_the_system_clock_s_offset_from_the_card_counts_as_well() -> None:
    scenario = Scenario()
    for _ in range(10):
        judgement = scenario.see(needs_phc2sys=True, phc2sys_running=True, system_minus_hardware_ns=3_000_000)
    assert judgement.state == ClockState.LOCKING
    assert "3000.0 µs" in judgement.reason


def test_a_grandmaster_is_locked_only_where_it_is_meant_to_be_one() -> None:
    chosen = Scenario(replace(LIMITS, grandmaster=True))
    for _ in range(5):
        judgement = chosen.see(PortState.MASTER, sync=False)
    assert judgement.state == ClockState.LOCKED
    surprised = Scenario()
    for _ in range(5):
        judgement = surprised.see(PortState.MASTER, sync=False)
    assert judgement.state == ClockState.UNLOCKED


# State of the port (None: no ptp4l), offset, whether a sync message came in, time since the last look.
Event = tuple[PortState | None, int, bool, int]
GOOD_RUN = st.lists(
    st.tuples(st.just(PortState.SLAVE), st.sampled_from([0, -90_000]), st.just(True), st.integers(0, SECOND)),
    min_size=3,
    max_size=8,
)
ANYTHING = st.lists(
    st.tuples(
        st.sampled_from([None, *PortState]) | st.just(PortState.SLAVE),
        st.sampled_from([0, 40_000, -90_000, 400_000, -2_000_000, 37 * SECOND]),
        st.booleans(),
        st.integers(0, 3 * SECOND),
    ),
    max_size=8,
)


@settings(max_examples=150)
@given(st.lists(GOOD_RUN | ANYTHING, max_size=8))
def test_whatever_comes(runs: list[list[Event]]) -> None:
    """LOCKED is never said without recent proof, HOLDOVER never for too long, and ages are true."""
    events = [event for run in runs for event in run]
    judge = ClockJudge(LIMITS)
    now_ns, ingress_ns, good, before = 0, 1, 0, None
    sync_at_ns = locked_sync_ns = entered_ns = None
    for number, (port, offset_ns, sync, pause_ns) in enumerate(events):
        now_ns += pause_ns
        if port is not None and sync:
            ingress_ns += 1
            sync_at_ns = now_ns if any(event[0] is not None for event in events[:number]) else None
        good = good + 1 if sync and port == PortState.SLAVE and abs(offset_ns) <= LIMITS.lock_offset_ns else good
        seen = None if port is None else status(port, ingress_ns, offset_ns)
        judgement = judge.judge(Observation(now_ns, seen, failure="silent"))
        state = judgement.state
        if before is None or state != before:
            entered_ns = now_ns
        assert entered_ns is not None and judgement.state_age_ns == now_ns - entered_ns
        assert judgement.sync_age_ns == (None if sync_at_ns is None else now_ns - sync_at_ns)
        assert judgement.reason
        if state == ClockState.LOCKED:
            assert port == PortState.SLAVE or (port is None and before == ClockState.LOCKED)
            assert judgement.sync_age_ns is not None and judgement.sync_age_ns <= LIMITS.sync_timeout_ns
            assert before == ClockState.LOCKED or good >= LIMITS.samples
            locked_sync_ns = sync_at_ns
        else:
            good = 0 if before == ClockState.LOCKED else good
        if state == ClockState.HOLDOVER:
            assert locked_sync_ns is not None and now_ns - locked_sync_ns <= LIMITS.holdover_ns
        if state in (ClockState.UNAVAILABLE, ClockState.UNLOCKED):
            assert locked_sync_ns is None
        before = state
