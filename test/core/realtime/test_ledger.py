# SPDX-License-Identifier: Apache-2.0
"""The frame ledger accounts for every frame."""

from hypothesis import given
from hypothesis import strategies as st

from muon_ad_core.realtime.ledger import FrameLedger


def test_counts_by_cause() -> None:
    ledger = FrameLedger()
    ledger.received()
    ledger.received(4)
    ledger.delivered()
    ledger.dropped("superseded")
    ledger.dropped("truncated", 2)
    entry = ledger.read()
    assert (entry.frames_in, entry.frames_out) == (5, 1)
    assert entry.drops == {"superseded": 1, "truncated": 2}
    assert entry.pending == 1


def test_faults_that_cost_no_frame_are_counted_apart() -> None:
    ledger = FrameLedger()
    ledger.received()
    ledger.faulty("no_camera_info")
    ledger.faulty("no_camera_info")
    ledger.delivered()
    entry = ledger.read()
    assert entry.faults == {"no_camera_info": 2}
    assert entry.pending == 0


@given(st.lists(st.sampled_from(["out", "superseded", "max_rate"])))
def test_every_frame_is_accounted_for(fates: list[str]) -> None:
    ledger = FrameLedger()
    for fate in fates:
        ledger.received()
        if fate == "out":
            ledger.delivered()
        else:
            ledger.dropped(fate)
    entry = ledger.read()
    assert entry.pending == 0
    assert entry.frames_out + sum(entry.drops.values()) == len(fates)


def test_a_reading_does_not_change_afterwards() -> None:
    ledger = FrameLedger()
    ledger.dropped("truncated")
    entry = ledger.read()
    ledger.dropped("truncated")
    assert entry.drops == {"truncated": 1}
