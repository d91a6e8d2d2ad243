# SPDX-License-Identifier: Apache-2.0
"""Lower convex hull of points that come in order, and the line that lies closest below all of them.

A delay is never negative, so device clock and undelayed host clock are a line below the points (device time,
arrival - device time). The line below all points with the least sum of distances holds the hull's edge under their
mean (Zhang, Liu, Xia: Clock synchronization algorithms for network measurements, INFOCOM 2002).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

MOST_POINTS = 20_000
"""A hull is renewed after so many points, so that memory stays bounded whatever they are."""


@dataclass(frozen=True)
class Line:
    """A line through (x, y) in integer nanoseconds; at other places it is rounded to them."""

    x: int
    y: int
    slope: float

    def at(self, x: int) -> int:
        """y at `x`."""
        return self.y + round(self.slope * (x - self.x))


class LowerHull:
    """Lower hull of points with increasing x, by Andrew's monotone chain in exact integers."""

    def __init__(self) -> None:
        self._xs: list[int] = []
        self._ys: list[int] = []
        self._sum_x = 0
        self._sum_y = 0
        self.count = 0
        """How many points were added."""
        self._first_x = 0

    def add(self, x: int, y: int) -> None:
        """Add a point; ValueError unless its x is above that of all points so far."""
        xs, ys = self._xs, self._ys
        if not xs:
            self._first_x = x
        elif x <= xs[-1]:
            raise ValueError(f"points must come with increasing x, but {x} follows {xs[-1]}")
        while len(xs) >= 2 and (ys[-1] - ys[-2]) * (x - xs[-2]) >= (y - ys[-2]) * (xs[-1] - xs[-2]):
            xs.pop()
            ys.pop()
        xs.append(x)
        ys.append(y)
        self._sum_x += x
        self._sum_y += y
        self.count += 1

    @property
    def span(self) -> int:
        """Distance in x from the first point to the last one."""
        return self._xs[-1] - self._first_x if self._xs else 0

    def line(self, steepest: float) -> Line:
        """The closest line below all points whose slope is at most `steepest` up or down; there must be a point."""
        xs, ys = self._xs, self._ys
        if len(xs) == 1:
            return Line(xs[0], ys[0], 0.0)
        right = min(bisect_right(xs, self._sum_x // self.count), len(xs) - 1)
        left = right - 1
        slope = (ys[right] - ys[left]) / (xs[right] - xs[left])
        if abs(slope) <= steepest:
            return Line(xs[left], ys[left], slope)
        slope = max(-steepest, min(steepest, slope))
        x0, y0 = xs[0], ys[0]
        x, y = min(zip(xs, ys), key=lambda point: (point[1] - y0) - slope * (point[0] - x0))
        return Line(x, y, slope)

    def mean_excess(self, line: Line) -> float:
        """Mean distance of the points above `line`; there must be a point."""
        return (self._sum_y - self.count * line.at(self._sum_x // self.count)) / self.count


class RollingHull:
    """Lower hull of the recent points: of between half a window and a whole one, without keeping the points."""

    def __init__(self, window: int) -> None:
        """`window` in the unit of x."""
        self._half = window // 2
        self._long = LowerHull()
        self._short = LowerHull()

    @property
    def hull(self) -> LowerHull:
        """The hull in force."""
        return self._long

    def add(self, x: int, y: int) -> None:
        """Add a point; ValueError unless its x is above that of all points so far."""
        self._long.add(x, y)
        self._short.add(x, y)
        if self._short.span >= self._half or self._short.count >= MOST_POINTS:
            self._long, self._short = self._short, LowerHull()
