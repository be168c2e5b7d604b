"""Charts: data land on the right pixels."""

import math
import xml.etree.ElementTree as ET

import pytest

from ood_seg.reports import svg


def plot(**changes) -> svg.Plot:
    """A plot whose data area is 100 x 200 pixels, from (50, 12) to (150, 212)."""
    settings = {
        "x": svg.Axis("x", 0.0, 10.0, ()),
        "y": svg.Axis("y", 0.0, 1.0, ()),
        "width": 164,
        "height": 260,
        "left": 50.0,
    }
    return svg.Plot(**{**settings, **changes})


def points_of(markup: str) -> list[tuple[float, float]]:
    pairs = ET.fromstring(markup).get("points").split()
    return [tuple(map(float, pair.split(","))) for pair in pairs]


def test_corners_of_the_data_area():
    drawn = points_of(svg.line(plot(), [0, 10, 5], [0, 1, 0.25], "line"))
    assert drawn == [(50, 212), (150, 12), (100, 162)]


def test_values_beyond_the_axes_are_drawn_at_the_edge():
    assert points_of(svg.line(plot(), [-5, 20], [-1, 2], "line")) == [(50, 212), (150, 12)]


def test_equal_ratios_have_equal_lengths_on_a_log_axis():
    logarithmic = plot(x=svg.Axis("x", 1e-3, 1.0, (), log=True))
    columns = [p[0] for p in points_of(svg.line(logarithmic, [1e-3, 1e-2, 1e-1, 1], [0] * 4, "a"))]
    assert columns == [50, pytest.approx(83.3), pytest.approx(116.7), 150]


def test_zero_on_a_log_axis_is_its_low_end():
    logarithmic = plot(x=svg.Axis("x", 1e-3, 1.0, (), log=True))
    assert points_of(svg.line(logarithmic, [0.0, 1.0], [0, 1], "a"))[0] == (50, 212)


def test_points_on_the_same_tenth_of_a_pixel_are_drawn_once():
    many = [k / 1e6 for k in range(1000)]
    assert len(points_of(svg.line(plot(), many, many, "line"))) < 5


def test_no_points_no_line():
    assert svg.line(plot(), [], [], "line") == ""


def test_histogram_stands_on_the_axis_with_one_flat_top_per_bin():
    drawn = points_of(svg.steps(plot(), [0, 5, 10], [0.5, 1.0], "area"))
    assert drawn == [(50, 212), (50, 112), (100, 112), (100, 12), (150, 12), (150, 212)]


@pytest.mark.parametrize("shape", ["circle", "diamond"])
def test_marker_is_centred_on_its_point_and_names_it(shape):
    element = ET.fromstring(svg.marker(plot(), 5, 0.5, "mark", "a < b & c", shape=shape))
    assert element.find("title").text == "a < b & c"
    if shape == "circle":
        centre = float(element.get("cx")), float(element.get("cy"))
    else:
        corners = points_of(ET.tostring(element, encoding="unicode"))
        centre = tuple(sum(values) / 4 for values in zip(*corners, strict=True))
    assert centre == (100, 112)


def test_vertical_line():
    element = ET.fromstring(svg.vertical(plot(), 2.5, "threshold", "t"))
    assert [float(element.get(k)) for k in ("x1", "x2", "y1", "y2")] == [75, 75, 12, 212]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (-8.3, -2.1, [-8, -6, -4]),
        (0.25, 0.75, [0.3, 0.4, 0.5, 0.6, 0.7]),
        (1e6, 1e6 + 5, [1e6 + k for k in range(6)]),
    ],
)
def test_round_ticks(low, high, expected):
    ticks = [value for value, _ in svg.linear_axis("", low, high).ticks]
    assert ticks == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("highest", "limit", "last"),
    [(1.0, 1.0, "100"), (0.51, 1.0, "100"), (0.5, 0.5, "50"), (0.06, 0.1, "10"), (0.0, 0.01, "1")],
)
def test_percent_axis_ends_above_the_highest_value(highest, limit, last):
    axis = svg.percent_axis("", highest)
    assert (axis.high, axis.ticks[-1]) == (limit, (limit, last))
    assert axis.ticks[0] == (0.0, "0")


@pytest.mark.parametrize("value", [0.0, -7.0, 1e9])
def test_axis_of_a_single_value_still_has_a_length(value):
    axis = svg.linear_axis("", value, value)
    assert axis.low < value < axis.high
    assert axis.ticks


def test_log_axis_covers_whole_decades_in_percent():
    axis = svg.log_percent_axis("", 3e-6)
    assert (axis.low, axis.high) == (pytest.approx(1e-6), 1.0)
    written = [text for _, text in axis.ticks]
    assert written == ["10⁻⁴", "0.001", "0.01", "0.1", "1", "10", "100"]


def test_log_axis_of_one_value_has_a_decade():
    axis = svg.log_percent_axis("", 0.1, 0.1)
    assert math.isclose(axis.high / axis.low, 10)


def test_chart_has_a_description_and_its_labels():
    axis = svg.Axis('"x" <px>', 0, 1, ((0.5, "half"),))
    element = ET.fromstring(svg.chart(plot(x=axis), [], description='5 < 6 & "quoted"'))
    assert element.get("aria-label") == '5 < 6 & "quoted"'
    assert element.get("role") == "img"
    texts = {text.text: text for text in element.iter("text")}
    assert '"x" <px>' in texts
    assert float(texts["half"].get("x")) == 100
