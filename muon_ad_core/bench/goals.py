# SPDX-License-Identifier: Apache-2.0
"""What the joint task promises at 640x480 and 30 Hz on idle two-core machines, and if a run kept it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A bound for one figure of the report."""

    name: str
    bound: float
    unit: str
    at_least: bool

    def judge(self, measured: float | None) -> dict[str, Any]:
        """The goal with what was measured; a figure that could not be measured misses it."""
        met = measured is not None and (measured >= self.bound if self.at_least else measured <= self.bound)
        relation = ">=" if self.at_least else "<="
        return {
            "name": self.name,
            "relation": relation,
            "bound": self.bound,
            "unit": self.unit,
            "measured": measured,
            "met": met,
        }


STYLIZED = Goal("frames stylised", 99.0, "%", at_least=True)
MEDIAN_LATENCY = Goal("stamp to stylised picture, p50", 15.0, "ms", at_least=False)
TAIL_LATENCY = Goal("stamp to stylised picture, p99", 33.0, "ms", at_least=False)
DETECTION_RATE = Goal("detections beside it", 10.0, "Hz", at_least=True)
MEMORY = Goal("memory of the largest node", 400.0, "MB", at_least=False)
NO_TORCH = Goal("nodes that load PyTorch", 0.0, "", at_least=False)


def judge(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each goal with the measured figure and whether it is met; in the order in which they are shown."""
    loss = report["loss"]
    return [
        STYLIZED.judge(None if loss is None else 100.0 * (1.0 - loss)),
        MEDIAN_LATENCY.judge(report["latency_ms"]["p50"]),
        TAIL_LATENCY.judge(report["latency_ms"]["p99"]),
        DETECTION_RATE.judge(report["detection_rate_hz"]),
        MEMORY.judge(max(report["rss_mb"].values(), default=None)),
        NO_TORCH.judge(float(len(report["torch_nodes"]))),
    ]
