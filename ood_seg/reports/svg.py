"""Charts as SVG text: pure functions from numbers to markup.

A `Plot` maps data to pixels; functions such as `line` turn data into elements of it; `chart` puts
the elements between axes. Colours are left to CSS classes, so that one chart suits a light page, a
dark page and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 12.0, 48.0
_TICK = 5


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`; data beyond them are drawn at the edge.

    Attributes:
        label: written along it.
        low, high: `low < high`; for a logarithmic axis both above 0.
        ticks: values with a mark, and what is written there.
        log: whether equal ratios have equal lengths.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def shares(self, values: ArrayLike) -> np.ndarray:
        """How far along the axis each value lies, 0 to 1."""
        values = np.clip(np.asarray(values, np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            values, low, high = np.log(values), math.log(low), math.log(high)
        return (values - low) / (high - low)


@dataclass(frozen=True)
class Plot:
    """Two axes on a surface of `width` x `height` pixels."""

    x: Axis
    y: Axis
    width: int = 460
    height: int = 340
    left: float = _LEFT

    @property
    def right(self) -> float:
        """Pixel column where the x axis ends."""
        return self.width - _RIGHT

    @property
    def bottom(self) -> float:
        """Pixel row of the x axis."""
        return self.height - _BOTTOM

    def columns(self, values: ArrayLike) -> np.ndarray:
        """Pixel columns of x values."""
        return self.left + self.x.shares(values) * (self.right - self.left)

    def rows(self, values: ArrayLike) -> np.ndarray:
        """Pixel rows of y values; the y axis points up."""
        return self.bottom - self.y.shares(values) * (self.bottom - _TOP)


def percent_axis(label: str, highest: float = 1.0) -> Axis:
    """0 to 1 or, where `highest` is far below, to 0.5, 0.2, 0.1 and so on; written as percent."""
    limit = 1.0
    for fraction in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
        limit = fraction if highest <= fraction else limit
    return Axis(label, 0.0, limit, tuple((limit * k / 5, f"{20 * limit * k:g}") for k in range(6)))


def log_percent_axis(label: str, low: float, high: float = 1.0) -> Axis:
    """Whole decades around `low` to `high` as percent, at least one."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    last = max(last, first + 1)
    ticks = tuple((10.0**k, _power_of_ten(k + 2)) for k in range(first, last + 1))
    return Axis(label, 10.0**first, 10.0**last, ticks, log=True)


def _power_of_ten(exponent: int) -> str:
    if -4 < exponent < 4:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def linear_axis(label: str, low: float, high: float) -> Axis:
    """An axis with about five round ticks."""
    if not high > low:
        margin = max(abs(low), 1.0) * 0.5
        low, high = low - margin, high + margin
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(k for k in (1, 2, 5, 10) if k * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple((k * step, f"{k * step:g}") for k in range(first, last + 1))
    return Axis(label, low, high, ticks)


def line(plot: Plot, x: ArrayLike, y: ArrayLike, css: str) -> str:
    """A line through points; those that fall on one tenth of a pixel are drawn once."""
    points = np.stack([plot.columns(x), plot.rows(y)], -1).round(1)
    if len(points) > 1:
        points = points[np.append(True, (np.diff(points, axis=0) != 0).any(1))]
    drawn = " ".join(f"{column:g},{row:g}" for column, row in points)
    return f'<polyline class="{css}" points="{drawn}"/>' if drawn else ""


def steps(plot: Plot, edges: Sequence[float], heights: Sequence[float], css: str) -> str:
    """A histogram as a filled outline that stands on the x axis."""
    x = np.repeat(plot.columns(edges), 2).round(1)
    inner = np.repeat(plot.rows(heights), 2)
    y = np.concatenate([[plot.bottom], inner, [plot.bottom]]).round(1)
    drawn = " ".join(f"{column:g},{row:g}" for column, row in zip(x, y, strict=True))
    return f'<polygon class="{css}" points="{drawn}"/>'


def marker(plot: Plot, x: float, y: float, css: str, text: str, *, shape: str = "circle") -> str:
    """A point, 'circle' or 'diamond', with a text that shows when it is pointed at."""
    column, row = float(plot.columns(x)), float(plot.rows(y))
    title = f"<title>{escape(text)}</title>"
    if shape == "circle":
        return f'<circle class="{css}" cx="{column:.1f}" cy="{row:.1f}" r="5">{title}</circle>'
    corners = [(column, row - 7), (column + 7, row), (column, row + 7), (column - 7, row)]
    drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return f'<polygon class="{css}" points="{drawn}">{title}</polygon>'


def vertical(plot: Plot, x: float, css: str, text: str) -> str:
    """A line over the whole height at `x`."""
    column = f"{float(plot.columns(x)):.1f}"
    return (
        f'<line class="{css}" x1="{column}" x2="{column}" y1="{_TOP:g}" y2="{plot.bottom:g}">'
        f"<title>{escape(text)}</title></line>"
    )


def label(column: float, row: float, text: str, *, css: str = "tick", anchor: str = "start") -> str:
    """Text at a pixel."""
    return (
        f'<text class="{css}" x="{column:.1f}" y="{row:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def chart(plot: Plot, elements: Iterable[str], *, description: str) -> str:
    """The whole picture: grid, axes and elements.

    Args:
        plot: its axes.
        elements: markup from the functions above, drawn in this order.
        description: read aloud in place of the picture.
    """
    return (
        f'<svg class="chart" viewBox="0 0 {plot.width} {plot.height}" role="img" '
        f'aria-label="{escape(description)}">'
        f"{_x_axis(plot)}{_y_axis(plot)}{''.join(elements)}</svg>"
    )


def _x_axis(plot: Plot) -> str:
    parts = []
    for value, text in plot.x.ticks:
        column = float(plot.columns(value))
        parts.append(_stroke("grid", column, _TOP, column, plot.bottom))
        parts.append(label(column, plot.bottom + 18, text, anchor="middle"))
    middle = (plot.left + plot.right) / 2
    parts.append(_stroke("axis", plot.left, plot.bottom, plot.right, plot.bottom))
    parts.append(label(middle, plot.height - 8, plot.x.label, css="name", anchor="middle"))
    return "".join(parts)


def _y_axis(plot: Plot) -> str:
    parts = []
    for value, text in plot.y.ticks:
        row = float(plot.rows(value))
        parts.append(_stroke("grid", plot.left, row, plot.right, row))
        parts.append(label(plot.left - _TICK, row + 4, text, anchor="end"))
    if plot.y.label:
        parts.append(_stroke("axis", plot.left, _TOP, plot.left, plot.bottom))
        middle = (_TOP + plot.bottom) / 2
        parts.append(
            f'<text class="name" transform="translate(15 {middle:.1f}) rotate(-90)" '
            f'text-anchor="middle">{escape(plot.y.label)}</text>'
        )
    return "".join(parts)


def _stroke(css: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
