# SPDX-License-Identifier: Apache-2.0
"""What the workers may use now: detection's slots and rate, style's level of detail; and why."""

from __future__ import annotations

import math

from muon_ad_msgs.msg import SchedulerStatus, WorkerStatus

from muon_ad_core.realtime.budget import UNLIMITED, Budget
from muon_ad_core.realtime.policy import REAL_TIME_POLICIES
from muon_ad_core.realtime.scene_level import SceneLevel

from .parameters import Value, Values

ACCELERATED_BACKENDS = ("torch", "tensorrt")


class Allowances:
    """Turns statuses and frame times into the settings of each role."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._style: WorkerStatus | None = None
        self._levels: list[str] = []
        self._budget: Budget | None = None
        self._scene = SceneLevel(1)
        self._scene_index = 0
        self._distance_m = math.nan
        self._settled_pid: int | None = None  # process of style that was seen to have its policy

    @property
    def style_is_real_time(self) -> bool:
        """Whether style was granted a real-time policy; taken for granted until it has answered."""
        style = self._style
        refused = style is not None and style.policy_asked in REAL_TIME_POLICIES and style.policy_reason
        return not (refused and style is not None and style.policy_granted not in REAL_TIME_POLICIES)

    @property
    def slots_only(self) -> bool:
        """Whether detection runs only in slots after a style frame."""
        admission = self._values["admission"]
        if not self._values["enabled"] or self._style is None or admission == "never":
            return False
        return admission == "always" or self._style.backend in ACCELERATED_BACKENDS or not self.style_is_real_time

    def configure(self, values: Values) -> None:
        """Take over the scheduler's parameters; enabling it anew begins with the best allowance."""
        if values["enabled"] and not self._values["enabled"]:
            self._levels, self._budget, self._settled_pid = [], None, None
        self._values = values
        if self._style is not None:
            self._follow(self._style)

    def hear(self, status: WorkerStatus) -> None:
        """Take in a worker's status."""
        if status.role == "detection":
            self._distance_m = status.scene_distance_m
        if status.role == "style":
            self._style = status
            if status.policy_asked == self._values["style.policy"]:
                self._settled_pid = status.pid
            self._follow(status)

    def style_frame(self, total_ms: float, lost: int) -> str:
        """Take in a stylised frame's age and the frames lost before it; returns a change of allowances in words.

        Frames of a style worker that has just begun, and was not heard to have its policy yet, tell nothing.
        """
        if self._budget is None or self._style is None or self._style.pid != self._settled_pid:
            return ""
        before, steps = self._budget.allowance, self._budget.given_up
        after = self._budget.frame(total_ms, lost)
        if after == before:
            return ""
        direction = "late or slow" if self._budget.given_up > steps else "in time again"
        limit = "any rate" if after.detection_hz == UNLIMITED else f"at most {after.detection_hz:g} Hz"
        return f"style's frames are {direction}: style level {after.level}, detection {limit}"

    def settings(self, role: str) -> dict[str, Value]:
        """The parameters of a worker of `role` that express the allowances."""
        enabled = self._values["enabled"]
        allowance = self._budget.allowance if self._budget is not None else None
        if role == "style":
            return {"auto_level": self._level() if enabled else ""}
        if role == "detection":
            limit = allowance.detection_hz if enabled and allowance is not None else UNLIMITED
            first = self._style.name if self.slots_only and self._style is not None else ""
            return {"rate_limit": float(limit), "slots_of": first}
        return {}

    def describe(self, status: SchedulerStatus) -> None:
        """Add the allowances to the scheduler's report."""
        status.enabled, status.slots_only = self._values["enabled"], self.slots_only
        status.scene_entropy = self._style.scene_entropy if self._style is not None else math.nan
        status.scene_distance_m = self._distance_m
        if self._budget is not None:
            status.detection_limit_hz = float(self._budget.allowance.detection_hz)
            status.given_up = self._budget.given_up
            status.style_level = self._level()
            status.scene_level = self._levels[self._scene_index]

    def _level(self) -> str:
        """The narrower of what the deadline and the scene call for."""
        if self._budget is None:
            return ""
        return self._levels[min(self._levels.index(self._budget.allowance.level), self._scene_index)]

    def _follow(self, style: WorkerStatus) -> None:
        """Keep ladder and scene level in step with style's levels and the parameters."""
        levels = self._band(list(style.levels))
        if not levels:
            return
        limits = [float(rate) for rate in self._values["detection.limits_hz"]]
        median_share = self._values["style.median_share"]
        if levels != self._levels:
            self._levels, self._scene, self._scene_index = levels, SceneLevel(len(levels)), len(levels) - 1
            self._budget = Budget(levels, limits, style.deadline_ms, median_share)
        elif self._budget is not None:
            self._budget.configure(levels, limits, style.deadline_ms, median_share)
        by_scene = self._values["style.level_by_scene"]
        self._scene_index = self._scene.update(style.scene_entropy, self._distance_m) if by_scene else len(levels) - 1

    def _band(self, levels: list[str]) -> list[str]:
        """The levels between the lowest and the highest allowed; names the engine lacks bound nothing."""
        lowest, highest = self._values["style.lowest_level"], self._values["style.highest_level"]
        begin = levels.index(lowest) if lowest in levels else 0
        end = levels.index(highest) + 1 if highest in levels else len(levels)
        return levels[begin : max(end, begin + 1)]
