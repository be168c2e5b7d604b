"""Charts: data are drawn in the right place, in colours of the page, with their texts."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from report_samples import evaluation

from ood_seg.reports import charts, templates
from ood_seg.reports.chart import (
    COLOURS,
    LineStyle,
    Plot,
    log_percent_axis,
    method_style,
    percent_axis,
)

# The axes span 58..446 pixels in x and 292..12 in y, from low to high values.
LEFT, RIGHT, BOTTOM, TOP = 58, 446, 292, 12


def plot() -> Plot:
    found = Plot("x", "y")
    for axis in (found.axes.xaxis, found.axes.yaxis):
        percent_axis(axis)
    return found


def drawn(chart) -> ET.Element:
    return ET.fromstring(chart.to_svg())


def points_of(path: ET.Element) -> list[tuple[float, float]]:
    numbers = re.findall(r"-?[\d.]+", path.get("d"))
    return list(zip(map(float, numbers[::2]), map(float, numbers[1::2]), strict=True))


def paths(chart, colour: str, kind: str = "stroke") -> list[ET.Element]:
    return [
        path
        for path in drawn(chart).iter("path")
        if f"{kind}: var(--{colour})" in path.get("style", "")
    ]


def test_corners_of_the_data_area():
    one = plot()
    one.line([0, 1, 0.5], [0, 1, 0.25], LineStyle("c3", (4, 2)), "text")
    (path,) = paths(one.chart("title"), "c3")
    middle = (LEFT + RIGHT) / 2, BOTTOM + (TOP - BOTTOM) / 4
    assert points_of(path) == [(LEFT, BOTTOM), (RIGHT, TOP), middle]
    assert "stroke-dasharray: 4,2" in path.get("style")
    assert one.legend == [("line", LineStyle("c3", (4, 2)), "text")]


def test_points_closer_than_a_pixel_are_drawn_once():
    one = plot()
    many = np.arange(1000) / 1e6
    one.line(many, many, LineStyle("c3"))
    (path,) = paths(one.chart(""), "c3")
    assert len(points_of(path)) < 5


def test_no_points_no_line():
    one = plot()
    one.line([], [], LineStyle("c3"))
    assert paths(one.chart(""), "c3") == []


@pytest.mark.parametrize("diamond", [False, True])
def test_marker_is_centred_on_its_point_and_names_it(diamond):
    one = plot()
    one.marker(0.5, 0.25, "c2", "a < b & c", diamond=diamond)
    (path,) = paths(one.chart(""), "c2", "fill")
    assert path.get("transform") == "translate(252 222)"
    points = np.array(points_of(path))
    assert np.abs(points.min(0) + points.max(0)).max() < 0.2
    assert "stroke: var(--paper)" in path.get("style")
    assert [title.text for title in drawn(one.chart("")).iter("title")] == ["a < b & c"]


def test_texts_may_hold_odd_bytes_of_file_names():
    one = plot()
    one.marker(0.5, 0.25, "c2", "\x01\udcff \\ ü")
    (title,) = re.findall("<title>(.*)</title>", one.chart("").to_svg())
    assert title == "\x01\udcff \\ ü"


def test_chart_is_one_element_that_needs_nothing_else():
    one = plot()
    one.marker(0.5, 0.25, "c2", "text")
    chart = one.chart("5 < 6", '& "quoted"')
    root = drawn(chart)
    assert (root.get("role"), root.get("aria-label")) == ("img", '5 < 6. & "quoted"')
    assert root.get("viewBox") == "0 0 460 340"
    tags = {element.tag for element in root.iter()}
    assert tags == {"svg", "g", "path", "text", "title"}
    names = {name for element in root.iter() for name in element.attrib}
    assert names.isdisjoint({"id", "clip-path", "href", "width", "height"})
    texts = [text.text for text in root.iter("text")]
    assert texts == [
        *["0", "20", "40", "60", "80", "100", "x"],
        *["0", "20", "40", "60", "80"],
        "100",
        "y",
    ]
    assert "font-family" not in chart.to_svg()
    assert not re.search("#[0-9a-f]{3}", chart.to_svg())
    assert chart.to_svg() == chart.to_svg()


def test_style_sheet_has_the_colours_of_both_themes():
    text = (Path(templates.__file__).parent / "report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.S)
    for name, colour in COLOURS.items():
        assert f"--{name}: {colour};" in light
        assert f"--{name}: #" in dark


def test_methods_differ_in_colour_and_dashes():
    styles = [method_style(index) for index in range(6)]
    assert len({style.colour for style in styles}) == len({style.dashes for style in styles}) == 6
    assert method_style(6) == styles[0]


@pytest.mark.parametrize(
    ("highest", "limit", "last"),
    [(1.0, 1.0, "100"), (0.51, 1.0, "100"), (0.5, 0.5, "50"), (0.06, 0.1, "10"), (0.0, 0.01, "1")],
)
def test_percent_axis_ends_above_the_highest_value(highest, limit, last):
    axis = Plot("", "").axes.xaxis
    assert percent_axis(axis, highest) == limit
    assert axis.axes.get_xlim() == (0, limit)
    labels = [label.get_text() for label in axis.get_ticklabels()]
    assert (labels[0], labels[-1]) == ("0", last)


def test_log_axis_covers_whole_decades_in_percent():
    axis = Plot("", "").axes.yaxis
    assert log_percent_axis(axis, 3e-6) == pytest.approx(1e-6)
    assert axis.axes.get_ylim() == (pytest.approx(1e-6), 1.0)
    labels = [label.get_text() for label in axis.get_ticklabels()]
    assert labels == ["10⁻⁴", "0.001", "0.01", "0.1", "1", "10", "100"]


def test_log_axis_of_one_value_has_a_decade():
    axis = Plot("", "").axes.xaxis
    low, high = log_percent_axis(axis, 0.1, 0.1), axis.axes.get_xlim()[1]
    assert math.isclose(high / low, 10)


def test_curves_and_their_marked_points():
    content = evaluation([])
    content["curves"] = {
        "roc": {"fpr": [0, 0.1, 0.25, 1], "tpr": [0, 0.5, 0.95, 1]},
        "pr": {"recall": [0, 0.5, 1], "precision": [1, 0.5, 0.25]},
    }
    both = {"energy": content}
    pr = charts.precision_recall(both)
    linear, log = (charts.roc(both, log=log) for log in (False, True))
    width, height = RIGHT - LEFT, BOTTOM - TOP
    line, *_ = paths(linear, "c0")
    assert points_of(line) == [(58, 292), (96.8, 152), (155, 26), (446, 12)]
    line, *_ = paths(log, "c0")
    # The axis begins at the decade of the smallest rate above 0.
    assert points_of(line)[:2] == [(58, 292), (58, 152)]
    for chart, place, text in (
        (
            pr,
            (LEFT + width / 2, BOTTOM - height / 2),
            "energy, best F1 50.00 %: precision 50.00 %, recall 50.00 %",
        ),
        (
            linear,
            (LEFT + width / 4, BOTTOM - height * 0.95),
            "energy, 25.00 % of known pixels flagged at TPR 95.00 %",
        ),
    ):
        marker = paths(chart, "c0", "fill")[-1]
        assert marker.get("transform") == f"translate({place[0]:g} {place[1]:g})"
        assert [title.text for title in drawn(chart).iter("title")] == [text]
    # 0.5 % of the pixels are anomalous.
    assert (58, 290.6) in [points_of(path)[0] for path in paths(pr, "muted")]


def test_histogram_shows_shares_of_each_kind():
    content = evaluation([])
    content["histogram"] = {"edges": [0.0, 1.0, 2.0], "known": [900, 100], "anomalous": [0, 7]}
    content["best_f1_threshold"] = 1.0
    chart = charts.histogram(content)
    # One decade, 10 % to 100 %, over 280 pixels; 90 % lies 0.954 of it up.
    (known,), (anomalous,) = (paths(chart, colour, "fill") for colour in ("c0", "c1"))
    assert [y for _, y in points_of(known)] == pytest.approx(
        [292, 24.8, 24.8, 292, 292, 292], abs=0.06
    )
    assert [y for _, y in points_of(anomalous)] == [292, 292, 292, 12, 12, 292]
    middle = (72 + RIGHT) / 2
    assert [x for x, _ in points_of(known)] == [72, 72, middle, middle, RIGHT, RIGHT]
    threshold = paths(chart, "ink")[-1]
    assert points_of(threshold) == [(middle, BOTTOM), (middle, TOP)]
    assert [title.text for title in drawn(chart).iter("title")] == ["threshold of the best F1, 1"]


def test_a_method_keeps_its_style_where_another_has_no_curve():
    without = evaluation([])
    without["curves"] = {"roc": {"fpr": [], "tpr": []}, "pr": {"recall": [], "precision": []}}
    both = {"first": without, "second": evaluation([])}
    for chart in (charts.roc(both), charts.precision_recall(both)):
        assert chart.legend[0].style == method_style(1)
        assert chart.legend[0].text.startswith("second, ")


def test_intervals_of_all_metrics_and_methods():
    both = {"a": evaluation([]), "b": evaluation([], shift=1.0)}
    chart = charts.intervals(both)
    axes = chart.figure.axes[0]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    expected = [
        one["metrics"][name]["interval"] for name in both["a"]["metrics"] for one in both.values()
    ]
    assert bars == [pytest.approx(interval) for interval in expected]
    values = [line.get_xdata()[0] for line in axes.lines]
    assert values == [
        one["metrics"][name]["value"] for name in both["a"]["metrics"] for one in both.values()
    ]
    heights = [line.get_ydata()[0] for line in axes.lines]
    assert np.diff(heights) == pytest.approx([1, 1.6, 1, 1.6, 1, 1.6, 1])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["AUROC ↑", "AP ↑", "FPR95 ↓", "best F1 ↑"]
    assert axes.get_yticks()[0] == 0.5


def test_reliability_and_its_description():
    chart = charts.reliability(evaluation([]))
    line = chart.figure.axes[0].lines[0]
    assert list(line.get_ydata()) == [0.004, 0.08, 0.3, 0.42]
    assert chart.figure.axes[0].get_xlim() == chart.figure.axes[0].get_ylim() == (0, 0.5)
    assert "99.00 % of the pixels lie in the bin at 0.40 %" in chart.note
    assert "largest gap is at 50.00 %, where 42.00 % are anomalous" in chart.note


def test_f1_of_components():
    chart = charts.component_f1({"energy": evaluation([])})
    axes = chart.figure.axes[0]
    assert list(axes.lines[0].get_xdata()) == [0.25, 0.5, 0.75]
    assert list(axes.lines[0].get_ydata()) == [0.9784, 0.7555, 0.3422]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0.25, 0.75), (0, 1))
    assert "energy 97.84 to 34.22 %" in chart.note
