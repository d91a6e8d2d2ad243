# SPDX-License-Identifier: Apache-2.0
"""What the scheduler allows the workers, from their statuses and frame times, without any process."""

import math
from typing import Any

import pytest
from muon_ad_msgs.msg import SchedulerStatus, WorkerStatus

from muon_ad_ros.allowances import Allowances
from muon_ad_ros.scheduling import SCHEDULER_PARAMETERS, policy_settings

LEVELS = ["fast", "fine"]


def values(**changes: Any) -> dict[str, Any]:
    return {spec.name: spec.default for spec in SCHEDULER_PARAMETERS} | {
        name.replace("__", "."): value for name, value in changes.items()
    }


def style(**changes: Any) -> WorkerStatus:
    fields = {
        "name": "/style_transfer",
        "role": "style",
        "levels": LEVELS,
        "deadline_ms": 33.0,
        "backend": "openvino",
        "policy_asked": "FIFO",
        "policy_granted": "FIFO",
        "scene_entropy": 0.9,
    }
    return WorkerStatus(**(fields | changes))


REFUSED = {"policy_granted": "OTHER", "policy_reason": "FIFO 50 was refused"}


def allowances(status: WorkerStatus, **changes: Any) -> Allowances:
    made = Allowances(values(**changes))
    made.hear(status)
    return made


def endanger(made: Allowances, frames: int) -> list[str]:
    return [change for _ in range(frames) if (change := made.style_frame(60.0, 0))]


def test_all_is_allowed_while_style_keeps_its_deadline() -> None:
    made = allowances(style())
    assert endanger(made, 0) == []
    assert made.settings("style") == {"auto_level": "fine"}
    assert made.settings("detection") == {"rate_limit": 0.0, "slots_of": ""}
    assert made.settings("source") == {}


def test_detection_gives_way_first_and_the_report_says_so() -> None:
    made = allowances(style())
    changes = endanger(made, 3)
    assert changes == ["style's frames are late or slow: style level fine, detection at most 12 Hz"]
    assert made.settings("detection")["rate_limit"] == 12.0
    assert made.settings("style") == {"auto_level": "fine"}
    endanger(made, 20)
    assert made.settings("style") == {"auto_level": "fast"}
    report = SchedulerStatus()
    made.describe(report)
    assert (report.enabled, report.detection_limit_hz, report.style_level, report.given_up) == (True, 2.0, "fast", 4)


def test_slow_frames_bring_narrower_levels_unless_the_deadline_alone_counts() -> None:
    made = allowances(style())
    for _ in range(100):
        made.style_frame(20.0, 0)
    assert made.settings("style") == {"auto_level": "fast"}
    assert made.settings("detection")["rate_limit"] == 12.0
    made = allowances(style(), style__median_share=1.0)
    for _ in range(100):
        made.style_frame(20.0, 0)
    assert made.settings("style") == {"auto_level": "fine"}


@pytest.mark.parametrize(
    ("status", "admission", "expected"),
    [
        (style(), "auto", False),
        (style(**REFUSED), "auto", True),
        (style(backend="torch"), "auto", True),
        (style(), "always", True),
        (style(**REFUSED), "never", False),
    ],
)
def test_slots_where_priorities_do_not_preempt(status: WorkerStatus, admission: str, expected: bool) -> None:
    made = allowances(status, admission=admission)
    assert made.slots_only is expected
    assert made.settings("detection")["slots_of"] == ("/style_transfer" if expected else "")


def test_a_plain_scene_and_a_far_one_call_for_a_narrow_level() -> None:
    assert allowances(style(scene_entropy=0.1)).settings("style") == {"auto_level": "fast"}
    made = allowances(style(scene_entropy=0.6))
    made.hear(WorkerStatus(role="detection", scene_distance_m=30.0))
    made.hear(style(scene_entropy=0.6))
    assert made.settings("style") == {"auto_level": "fast"}
    assert allowances(style(scene_entropy=0.1), style__level_by_scene=False).settings("style") == {"auto_level": "fine"}


def test_the_band_of_levels_is_kept() -> None:
    assert allowances(style(), style__highest_level="fast").settings("style") == {"auto_level": "fast"}
    made = allowances(style(), style__lowest_level="fine")
    endanger(made, 100)
    assert made.settings("style") == {"auto_level": "fine"}


def test_a_disabled_scheduler_allows_everything_and_begins_anew() -> None:
    made = allowances(style())
    endanger(made, 30)
    made.configure(values(enabled=False))
    assert made.settings("detection") == {"rate_limit": 0.0, "slots_of": ""}
    assert made.settings("style") == {"auto_level": ""}
    made.configure(values())
    assert made.settings("style") == {"auto_level": "fine"}
    assert made.settings("detection")["rate_limit"] == 0.0


def test_detection_yields_by_its_nice_value_where_style_was_refused() -> None:
    assert allowances(style()).style_is_real_time
    made = allowances(style(**REFUSED))
    assert not made.style_is_real_time
    assert policy_settings("detection", values(), made.style_is_real_time)["scheduling.nice"] == 10
    assert policy_settings("detection", values(), style_is_real_time=True)["scheduling.nice"] == 0
    assert policy_settings("style", values(), made.style_is_real_time)["scheduling.nice"] == 0
    assert policy_settings("style", values(enabled=False), style_is_real_time=True)["scheduling.policy"] == "OTHER"


def test_frames_before_style_has_its_policy_tell_nothing() -> None:
    made = allowances(style(policy_asked="OTHER", policy_granted="OTHER", pid=7))
    assert endanger(made, 30) == []
    made.hear(style(pid=7))
    assert endanger(made, 30) != []
    made.hear(style(policy_asked="OTHER", policy_granted="OTHER", pid=8))
    assert endanger(made, 30) == []


def test_nothing_is_decided_before_style_was_heard() -> None:
    made = Allowances(values())
    assert made.style_frame(100.0, 5) == ""
    assert made.settings("style") == {"auto_level": ""}
    report = SchedulerStatus()
    made.describe(report)
    assert math.isnan(report.scene_entropy)
