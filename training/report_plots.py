"""Charts as inline SVG for the report: no script, no font, no file from elsewhere; made for a phone's width too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 26, 12, 46
_INK, _GRID = "#475569", "#e2e8f0"
_SMALLEST_STEP, _MOST_DIGITS = 1e-6, 5
"""Of an axis of shares; so many digits of a per cent are enough for a quarter of ten such steps."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis with its ticks.

    Attributes:
        label: what it shows.
        low: value at its begin; above 0 where it is logarithmic.
        high: value at its end.
        ticks: values with their texts.
        is_log: whether equal steps are equal ratios.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False

    def share(self, value: float) -> float:
        """Where the value lies on the axis, 0 to 1."""
        held = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(held / self.low) / math.log(self.high / self.low)
        return (held - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, with its name in the legend."""

    name: str
    colour: str
    points: Sequence[Point]
    is_dashed: bool = False
    width: float = 2.0


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars from the bottom: (begin, end, height) each, with their name in the legend."""

    name: str
    colour: str
    bars: Sequence[tuple[float, float, float]]
    opacity: float = 0.75


def chart(title: str, x: Axis, y: Axis, marks: Sequence[Line | Bars]) -> str:
    """A figure with one chart, its legend and its title as caption."""

    def across(value: float) -> float:
        return _LEFT + x.share(value) * (WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        return HEIGHT - _BOTTOM - y.share(value) * (HEIGHT - _TOP - _BOTTOM)

    drawn = "".join(
        _bars(mark, across, up, y.low) if isinstance(mark, Bars) else _line(mark, across, up) for mark in marks
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{_grid(x, y, across, up)}{drawn}</svg>{_legend(marks)}</figure>"
    )


def share_axis(label: str, high: float = 1.0) -> Axis:
    """An axis of shares from 0, in per cent."""
    step = _round_step(high / 5.0)
    count = math.ceil(high / step - 1e-9)
    digits = next(
        (digits for digits in range(_MOST_DIGITS) if math.isclose(step, round(step, 2 + digits))), _MOST_DIGITS
    )
    return Axis(label, 0.0, count * step, [(at * step, f"{at * step:.{digits}%}") for at in range(count + 1)])


def count_axis(label: str, most: int) -> Axis:
    """A logarithmic axis of counts; its bottom is half a row, so that a single one is seen."""
    decades = range(max(math.ceil(math.log10(max(most, 10))), 1) + 1)
    return Axis(label, 0.5, float(10 ** decades[-1]), [(float(10**at), f"{10**at:,}") for at in decades], is_log=True)


def _round_step(least: float) -> float:
    size = 10.0 ** math.floor(math.log10(max(least, _SMALLEST_STEP)))
    return next(size * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if size * factor >= least * (1 - 1e-9))


def _grid(x: Axis, y: Axis, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    parts = []
    for value, text in y.ticks:
        at = up(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{_GRID}"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    parts += [
        f'<text x="{across(value):.1f}" y="{HEIGHT - _BOTTOM + 17}" text-anchor="middle">{escape(text)}</text>'
        for value, text in x.ticks
    ]
    middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM}" stroke="{_INK}"/>'
        f'<text x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x.label)}</text>'
        f'<text x="14" y="{middle_y}" text-anchor="middle" transform="rotate(-90 14 {middle_y})">{escape(y.label)}'
        "</text>"
    )
    return "".join(parts)


def _line(line: Line, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line.points)
    dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
    return (
        f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="{line.width:g}"{dashes} '
        'stroke-linejoin="round"/>'
    )


def _bars(bars: Bars, across: Callable[[float], float], up: Callable[[float], float], bottom: float) -> str:
    base = up(bottom)
    return "".join(
        f'<rect x="{across(begin):.1f}" y="{up(height):.1f}" width="{max(across(end) - across(begin) - 1, 1):.1f}" '
        f'height="{base - up(height):.1f}" fill="{bars.colour}" fill-opacity="{bars.opacity:g}"/>'
        for begin, end, height in bars.bars
        if height > 0
    )


def _legend(marks: Sequence[Line | Bars]) -> str:
    entries = "".join(
        f'<li><span class="swatch{" dashed" if isinstance(mark, Line) and mark.is_dashed else ""}" '
        f'style="border-color:{mark.colour};opacity:{mark.opacity if isinstance(mark, Bars) else 1:g}"></span>'
        f"{escape(mark.name)}</li>"
        for mark in marks
    )
    return f'<ul class="legend">{entries}</ul>'
