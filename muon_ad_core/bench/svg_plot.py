# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG text, coloured by the page's style sheet: no script, no font and no picture to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 46.0, 12.0, 14.0, 38.0
CHARACTER_WIDTH = 6.6  # pixels of an average character at the font size of the style sheet (12 px)


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high` with its label."""

    low: float
    high: float
    label: str


class Plot:
    """A plot area with two axes, `width` x `height` pixels in all; coordinates are data values."""

    def __init__(self, width: float, height: float, x: Axis, y: Axis, top: float = MARGIN_TOP) -> None:
        self._width, self._height, self._top = width, height, top
        self._x, self._y = x, y
        self._parts: list[str] = []
        self._draw_axes()

    def x(self, value: float) -> float:
        """Horizontal pixel of a data value."""
        span = self._width - MARGIN_LEFT - MARGIN_RIGHT
        return round(MARGIN_LEFT + span * (value - self._x.low) / (self._x.high - self._x.low), 1)

    def y(self, value: float) -> float:
        """Vertical pixel of a data value."""
        span = self._height - self._top - MARGIN_BOTTOM
        return round(self._top + span * (1.0 - (value - self._y.low) / (self._y.high - self._y.low)), 1)

    def dots(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """One dot for each pair, all in one path: short lines with round ends."""
        path = "".join(f"M{self.x(x)} {self.y(y)}h0" for x, y in zip(xs, ys, strict=True))
        if path:
            self._parts.append(f'<path class="dots {style}" d="{path}"/>')

    def line(self, xs: Sequence[float], ys: Sequence[float], style: str) -> None:
        """A line through the pairs."""
        path = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in zip(xs, ys, strict=True))
        self._parts.append(f'<polyline class="line {style}" points="{path}"/>')

    def bar(self, left: float, right: float, value: float, style: str, tip: str = "") -> None:
        """A bar from `left` to `right` as high as `value`, with a tip for the mouse."""
        x, y = self.x(left), self.y(value)
        width, height = max(2.0, self.x(right) - x), self.y(self._y.low) - y
        self._parts.append(
            f'<rect class="bar {style}" x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def span(self, left: float, right: float, style: str, tip: str = "") -> None:
        """A band over the whole height, at least one pixel wide."""
        x, top, bottom = self.x(left), self._top, self.y(self._y.low)
        width = max(1.0, self.x(right) - x)
        self._parts.append(
            f'<rect class="{style}" x="{x}" y="{top}" width="{width:.1f}" height="{bottom - top:.1f}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def level(self, value: float, label: str, style: str) -> None:
        """A horizontal line across the plot with its label above its right end."""
        y, right = self.y(value), self._width - MARGIN_RIGHT
        self._parts.append(f'<path class="mark {style}" d="M{MARGIN_LEFT} {y}H{right}"/>')
        self._text(right - 2, y - 4, label, f"end {style}-text")

    def upright(self, value: float, label: str, style: str, row: int = 0) -> None:
        """A vertical line with its label beside its upper end; `row` moves the label down, clear of others."""
        x, bottom = self.x(value), self.y(self._y.low)
        self._parts.append(f'<path class="mark {style}" d="M{x} {self._top}V{bottom}"/>')
        fits = x + 4 + CHARACTER_WIDTH * len(label) < self._width
        side = 4 if fits else -4
        self._text(x + side, self._top + 11 + 15 * row, label, f"{'' if fits else 'end '}{style}-text")

    def strip(self, segments: Sequence[tuple[float, float, str]]) -> None:
        """Named stretches of the horizontal axis, above the plot; numbered, and named where the name fits."""
        for number, (begin, end, name) in enumerate(segments):
            left, right = self.x(begin), self.x(end)
            self._parts.append(
                f'<rect class="strip{number % 2}" x="{left}" y="1" width="{max(1.0, right - left - 1):.1f}" '
                f'height="20" rx="3"><title>{escape(name)}</title></rect>'
            )
            named = f"{number + 1} {name}"
            fits = CHARACTER_WIDTH * len(named) + 8 < right - left
            text = named if fits else str(number + 1)
            if fits or right - left > 12:
                self._text((left + right) / 2, 15, text, "middle plain")

    def svg(self, label: str) -> str:
        """The finished element; `label` describes it to those who cannot see it."""
        size = f'viewBox="0 0 {self._width:g} {self._height:g}" width="{self._width:g}" height="{self._height:g}"'
        return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(self._parts)}</svg>'

    def _text(self, x: float, y: float, text: str, style: str = "") -> None:
        self._parts.append(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')

    def _draw_axes(self) -> None:
        left, right, bottom = MARGIN_LEFT, self._width - MARGIN_RIGHT, self._height - MARGIN_BOTTOM
        for value in ticks(self._y.low, self._y.high, most=6):
            self._parts.append(f'<path class="grid" d="M{left} {self.y(value)}H{right}"/>')
            self._text(left - 6, self.y(value) + 4, f"{value:g}", "end faint")
        for value in ticks(self._x.low, self._x.high, most=int(self._width / 70)):
            self._parts.append(f'<path class="axis" d="M{self.x(value)} {bottom}v4"/>')
            self._text(self.x(value), bottom + 17, f"{value:g}", "middle faint")
        self._parts.append(f'<path class="axis" d="M{left} {bottom}H{right}"/>')
        self._text(right, self._height - 4, self._x.label, "end faint")
        self._parts.append(
            f'<text class="middle faint" transform="translate(12 {(self._top + bottom) / 2:.1f}) rotate(-90)">'
            f"{escape(self._y.label)}</text>"
        )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) within low..high, at most `most` and one more."""
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]
