"""Charts in the style of the report: axes to draw on, and what a finished chart consists of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ood_seg.reports.svg import set_title, svg_element

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# CSS variables of the page with their values in a light theme; `report.css` has a dark one as
# well. Colours after Okabe and Ito, darkened for a contrast of 3:1.
COLOURS = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "grid": "#e6e8eb",
    "c0": "#0072b2",
    "c1": "#c94f00",
    "c2": "#007a5a",
    "c3": "#a63c7c",
    "c4": "#7a6200",
    "c5": "#4b4f56",
}
# Lengths in pixels.
_DASHES = ((), (7, 3), (2, 3), (9, 3, 2, 3), (12, 4), (4, 2))
_WIDTH, _HEIGHT = 460, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 48
_FONT_SIZE = 13


class LineStyle(NamedTuple):
    """A colour of `COLOURS`, and the lengths of dashes and gaps in pixels; none: a full line."""

    colour: str
    dashes: Sequence[int] = ()


CHANCE = LineStyle("muted", (2, 4))


def method_style(index: int) -> LineStyle:
    """The line of a method: methods differ in colour and dashes, and repeat after six."""
    return LineStyle(f"c{index % len(_DASHES)}", _DASHES[index % len(_DASHES)])


class LegendEntry(NamedTuple):
    """A sample of what was drawn, and its text."""

    shape: Literal["line", "circle", "diamond", "area"]
    style: LineStyle
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart with its title, its legend, and a note below, which also describes it in words."""

    title: str
    figure: Figure
    legend: Sequence[LegendEntry] = ()
    note: str = ""

    def to_svg(self) -> str:
        """The chart as an `<svg>` element; see `svg_element`."""
        variables = {colour: name for name, colour in COLOURS.items()}
        return svg_element(self.figure, f"{self.title}. {self.note}".strip(), variables)


class Plot:
    """Empty axes of a new figure of 460 pixels width, whose margins do not depend on the labels.

    Attributes:
        figure, axes: of matplotlib.
        legend: entries of what was drawn with a text for it.
    """

    def __init__(
        self, x_label: str, y_label: str, *, height: int = _HEIGHT, left: int = _LEFT
    ) -> None:
        from matplotlib.figure import Figure

        self.legend: list[LegendEntry] = []
        self.figure = Figure(figsize=(_WIDTH / 72, height / 72))
        width, inner = _WIDTH - left - _RIGHT, height - _TOP - _BOTTOM
        self.axes = self.figure.add_axes(
            (left / _WIDTH, _BOTTOM / height, width / _WIDTH, inner / height),
            axisbelow=True,
        )
        self.figure.patch.set_visible(False)
        self.axes.patch.set_visible(False)
        self.axes.spines[["top", "right"]].set_visible(False)
        self.axes.spines[["left", "bottom"]].set_color(COLOURS["muted"])
        self.axes.grid(color=COLOURS["grid"], linewidth=1)
        for axis, label in ((self.axes.xaxis, x_label), (self.axes.yaxis, y_label)):
            axis.set_label_text(label, fontsize=_FONT_SIZE, color=COLOURS["ink"])
            axis.labelpad = 8
            axis.set_tick_params(length=0, labelsize=_FONT_SIZE, labelcolor=COLOURS["muted"], pad=5)

    def line(self, x: Any, y: Any, style: LineStyle, text: str = "", width: float = 2.0) -> None:
        """Draw a line.

        Args:
            x, y: points within the axes.
            style: colour and dashes.
            text: for the legend; empty: no entry.
            width: in pixels.
        """
        # matplotlib counts dashes in line widths.
        dashes = (0, [length / width for length in style.dashes]) if style.dashes else "-"
        colour = COLOURS[style.colour]
        self.axes.plot(x, y, color=colour, linestyle=dashes, linewidth=width, clip_on=False)
        if text:
            self.legend.append(LegendEntry("line", style, text))

    def marker(self, x: float, y: float, colour: str, text: str, *, diamond: bool = False) -> None:
        """Draw a point whose text shows while the pointer is on it."""
        (marker,) = self.axes.plot(
            [x],
            [y],
            "D" if diamond else "o",
            color=COLOURS[colour],
            markeredgecolor=COLOURS["paper"],
            markersize=10,
            clip_on=False,
            zorder=3,
        )
        set_title(marker, text)

    def chart(self, title: str, note: str = "") -> Chart:
        """The finished chart."""
        return Chart(title, self.figure, tuple(self.legend), note)


def percent_axis(axis: Axis, highest: float = 1.0) -> float:
    """Scale an axis to 0..1 or, where `highest` is lower, to 0.5, 0.2, 0.1 ...; return its end."""
    ends = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    end = min((one for one in ends if highest <= one), default=1.0)
    _set_ticks(axis, {end * k / 5: f"{20 * end * k:g}" for k in range(6)})
    return end


def log_percent_axis(axis: Axis, low: float, high: float = 1.0) -> float:
    """Scale an axis to the decades around `low` to `high`, at least one; return its start."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    decades = range(first, max(last, first + 1) + 1)
    _set_ticks(axis, {10.0**k: _power_of_ten(k + 2) for k in decades}, scale="log")
    return 10.0**first


def _set_ticks(axis: Axis, labels: dict[float, str], scale: str = "linear") -> None:
    """Set the scale and the labels by tick; the axis ends at the outer ticks."""
    ticks = list(labels)
    options: dict[str, Any] = {"scale": scale, "lim": (ticks[0], ticks[-1]), "ticks": ticks}
    options["ticklabels"] = list(labels.values())
    letter = "x" if axis is axis.axes.xaxis else "y"
    axis.axes.set(**{f"{letter}{key}": value for key, value in options.items()})
    axis.minorticks_off()


def _power_of_ten(exponent: int) -> str:
    if -4 < exponent < 4:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
