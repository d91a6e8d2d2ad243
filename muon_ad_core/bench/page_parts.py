# SPDX-License-Identifier: Apache-2.0
"""What report pages are made of: the page itself, plots in two widths, legends, bars and tables, as HTML text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from muon_ad_core.bench.page_style import STYLE_SHEET

WIDE, NARROW = 1040.0, 370.0  # pixels; the style sheet shows one of the two drawings of each plot


def page(title: str, sections: Iterable[str]) -> str:
    """A self-contained page."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE_SHEET}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>"
    )


def plot(data: Any, draw: Callable[[Any, float], str]) -> str:
    """`draw(data, width)` for wide and for narrow screens."""
    return (
        f'<div class="plot"><div class="wide">{draw(data, WIDE)}</div>'
        f'<div class="narrow">{draw(data, NARROW)}</div></div>'
    )


def legend(*entries: tuple[str, str]) -> str:
    """Colours (classes of the style sheet) and what they stand for."""
    return f'<p class="legend">{"".join(f"<i class={style}></i>{escape(text)}" for style, text in entries)}</p>'


def bars(entries: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: name, value and unit."""
    most = max((value for _, value, _ in entries), default=0.0) or 1.0
    rows = (
        f'<div>{escape(name)}</div><div class="track"><div class="fill" style="width:{75 * value / most:.1f}%">'
        f'<span class="value" style="margin-left:100%">{value:.3g} {escape(unit)}</span></div></div>'
        for name, value, unit in entries
    )
    return f'<div class="bars">{"".join(rows)}</div>'


def table(rows: Sequence[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table whose first row is its head, unless it has two columns; `numbers` are columns to align right."""
    right = set(numbers)

    def cell(tag: str, column: int, text: str) -> str:
        return f"<{tag}{' class=number' if column in right else ''}>{escape(text)}</{tag}>"

    head = len(rows[0]) > 2 if rows else False
    lines = []
    for number, row in enumerate(rows):
        tag = "th" if head and number == 0 else "td"
        lines.append(f"<tr>{''.join(cell(tag, column, text) for column, text in enumerate(row))}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'
