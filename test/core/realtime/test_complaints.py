# SPDX-License-Identifier: Apache-2.0
"""A fault is said once, and again only after recovery and a quiet time."""

from muon_ad_core.realtime.complaints import Complaints


def test_said_once_while_it_lasts() -> None:
    complaints = Complaints(quiet=60.0)
    said = [complaints.should_say("truncated", now=float(second)) for second in range(600)]
    assert said.count(True) == 1


def test_causes_are_independent() -> None:
    complaints = Complaints()
    assert complaints.should_say("truncated", 0.0)
    assert complaints.should_say("encoding", 0.0)


def test_said_again_after_recovery_and_at_most_once_a_minute() -> None:
    complaints = Complaints(quiet=60.0)
    said = []
    for second in range(180):  # good and bad frames in turn
        complaints.recovered()
        said.append(complaints.should_say("truncated", now=float(second)))
    assert [second for second, spoken in enumerate(said) if spoken] == [0, 60, 120]
