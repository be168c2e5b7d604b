"""Overlays, heat maps and figures: pixel values, not only that they are drawn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib import colormaps
from PIL import Image

from ood_seg.visualization import (
    COLOUR_MAP,
    DECISION_COLOURS,
    ComparisonRow,
    comparison_figure,
    decision_overlay,
    ground_truth_overlay,
    heat_map,
    label_overlay,
    prediction_figure,
    save_figure,
    score_range,
)

PALETTE = [(200, 0, 0), (0, 100, 50)]


def lightness(colours: np.ndarray) -> np.ndarray:
    return colours.reshape(-1, 3).astype(float) @ (0.2126, 0.7152, 0.0722)


def test_overlay_by_hand():
    image = np.array([[[10, 20, 30], [100, 100, 100], [7, 8, 9]]], dtype=np.uint8)
    labels = np.array([[0, 1, 255]])
    overlay = label_overlay(image, labels, PALETTE, alpha=0.25)
    # 0.75 * image + 0.25 * colour, rounded; the pixel without a class stays.
    assert overlay.tolist() == [[[58, 15, 22], [75, 100, 88], [7, 8, 9]]]
    assert image.tolist() == [[[10, 20, 30], [100, 100, 100], [7, 8, 9]]]


def test_overlay_keeps_the_place_of_every_pixel_at_odd_sizes():
    image = np.zeros((37, 53, 3), np.uint8)
    for row, column in ((0, 0), (36, 52), (0, 52), (17, 3)):
        labels = np.full((37, 53), 254)
        labels[row, column] = 1
        changed = np.argwhere(label_overlay(image, labels, PALETTE, alpha=1.0).any(axis=2))
        assert changed.tolist() == [[row, column]]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_overlay_limits(alpha):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    labels = np.zeros((4, 5), np.uint8)
    expected = image if alpha == 0.0 else np.broadcast_to(PALETTE[0], image.shape)
    np.testing.assert_array_equal(label_overlay(image, labels, PALETTE, alpha), expected)


def test_overlay_refuses_what_does_not_fit():
    image = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels.*\(4, 5\).*\(5, 4\)"):
        label_overlay(image, np.zeros((5, 4), int), PALETTE)
    with pytest.raises(ValueError, match="uint8"):
        label_overlay(image.astype(float), np.zeros((4, 5), int), PALETTE)
    with pytest.raises(ValueError, match="alpha"):
        label_overlay(image, np.zeros((4, 5), int), PALETTE, alpha=1.5)


def test_ground_truth_marks_anomaly_and_void_alone():
    image = np.full((1, 3, 3), 100, np.uint8)
    shown = ground_truth_overlay(image, np.array([[0, 1, 255]], np.uint8), alpha=1.0)
    assert shown.tolist() == [[[100, 100, 100], [255, 80, 0], [0, 0, 0]]]


def test_decision_colours():
    image = np.full((1, 6, 3), 200, np.uint8)
    mask = np.array([[1, 1, 0, 0, 255, 255]], np.uint8)
    flagged = np.array([[True, False, True, False, True, False]])
    shown = decision_overlay(image, mask, flagged).astype(int)
    for column, colour in enumerate(DECISION_COLOURS.values()):
        assert np.abs(shown[0, column] - colour).max() < 40
    known, ignored = shown[0, 3], shown[0, 4]
    assert len(set(known)) == 1
    assert (ignored == shown[0, 5]).all()
    assert ignored.max() < known.min() / 2


def test_heat_map_has_the_colours_of_the_colour_bar():
    colours = colormaps[COLOUR_MAP](np.arange(256))[:, :3] * 255
    ramp = heat_map(np.arange(256.0)[None], 0, 255)
    np.testing.assert_array_equal(ramp[0], np.rint(colours))


def test_heat_map_grows_lighter_with_the_score():
    scores = np.linspace(-30.0, -2.0, 64).reshape(8, 8)
    light = lightness(heat_map(scores, -30.0, -2.0))
    assert (np.diff(light) > 0).all()


@pytest.mark.parametrize(("shift", "scale"), [(-100.0, 1.0), (0.0, 1e-3), (5.0, 1e4)])
def test_automatic_range_does_not_depend_on_the_scale_of_the_scores(shift, scale):
    scores = np.random.default_rng(1).normal(size=(30, 40))
    difference = heat_map(scores).astype(int) - heat_map(shift + scale * scores)
    # A step of the colour table at most, from rounding.
    assert np.abs(difference).max() <= 12


def test_negative_scores_do_not_come_out_black():
    scores = np.random.default_rng(2).normal(-12.0, 2.0, (40, 40))
    light = lightness(heat_map(scores))
    assert light.min() < 20
    assert light.max() > 200


def test_an_outlying_pixel_does_not_darken_the_rest():
    scores = np.random.default_rng(3).normal(-12.0, 2.0, (40, 40))
    alone = heat_map(scores)
    scores[0, 0] = 1e6
    difference = np.abs(heat_map(scores).astype(int) - alone)[1:]
    assert difference.max() <= 12


def test_values_outside_the_range_are_clipped():
    colours = heat_map(np.array([[-5.0, 0.0, 1.0, 9.0]]), 0.0, 1.0)
    np.testing.assert_array_equal(colours[0, 0], colours[0, 1])
    np.testing.assert_array_equal(colours[0, 2], colours[0, 3])


def test_undefined_scores_stand_out():
    colours = heat_map(np.array([[0.0, np.nan, np.inf, 1.0]]))
    assert colours[0, 1].tolist() == colours[0, 2].tolist()
    ramp = heat_map(np.linspace(0, 1, 256)[None])
    assert colours[0, 1].tolist() not in ramp[0].tolist()


def test_score_range():
    values = np.arange(101.0)
    assert score_range(values) == (1.0, 99.0)
    assert score_range([values[:50], values[50:]]) == (1.0, 99.0)
    assert score_range(np.array([np.nan, np.inf])) == (0.0, 1.0)
    low, high = score_range(np.full((3, 3), -7.0))
    assert low < -7.0 < high
    # All but one pixel equal: the percentiles meet, the extremes do not.
    mostly = np.zeros(1000)
    mostly[0] = 4.0
    assert score_range(mostly) == (0.0, 4.0)


def test_bad_ranges_are_refused():
    for limits in ((1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))):
        with pytest.raises(ValueError, match="low < high"):
            heat_map(np.zeros((2, 2)), *limits)
    with pytest.raises(ValueError, match=r"expected \(H, W\)"):
        heat_map(np.zeros((1, 2, 2)))


def test_prediction_figure_names_the_present_classes_only():
    image = np.zeros((37, 53, 3), np.uint8)
    labels = np.ones((37, 53), np.uint8)
    labels[0, 0] = 255
    figure = prediction_figure(
        image, labels, np.random.default_rng(4).normal(size=(37, 53)),
        classes=("road", "sky"), palette=PALETTE,
    )  # fmt: skip
    (legend,) = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == ["sky"]


def comparison_row(before, after, **options):
    ramp = np.linspace(0, 1, 600).reshape(20, 30)
    image, truth = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)
    return ComparisonRow(image, truth, before + ramp, after + ramp, **options)


def panels_of(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_comparison_figure_has_one_range_for_each_row():
    rows = [comparison_row(0.0, 5.0, name="scene 1"), comparison_row(300.0, 200.0, name="scene 2")]
    figure = comparison_figure(rows, before="MSP", after="energy")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["image", "ground truth", "MSP", "energy"]
    panels = panels_of(figure)
    assert len(figure.axes) == len(panels) + 2  # one colour bar a row
    assert len(panels) == 8
    # The model with the higher scores is lighter in each row, whatever the other row holds.
    assert lightness(panels[2]).max() < lightness(panels[3]).min()
    assert lightness(panels[7]).max() < lightness(panels[6]).min()


def test_comparison_figure_takes_a_range_and_shows_a_decision():
    rows = [comparison_row(0.0, 0.0, score_range=(-1.0, 3.0), threshold=0.5)]
    rows[0].ground_truth[:, :10] = 1
    figure = comparison_figure(rows, decision="best F1")
    assert [axes.get_title() for axes in figure.axes][4] == "best F1"
    *_, score, decision = panels_of(figure)
    np.testing.assert_array_equal(score, heat_map(rows[0].after, -1.0, 3.0))
    flagged = rows[0].after >= 0.5
    expected = decision_overlay(rows[0].image, rows[0].ground_truth, flagged)
    np.testing.assert_array_equal(decision, expected)
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == list(DECISION_COLOURS)
    # One row without a threshold: no decisions.
    assert len(panels_of(comparison_figure([*rows, comparison_row(0.0, 0.0)]))) == 8


def test_comparison_figure_refuses_bad_rows():
    with pytest.raises(ValueError, match="at least one row"):
        comparison_figure([])
    image, small = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 5))
    with pytest.raises(ValueError, match="size of the image"):
        comparison_figure([ComparisonRow(image, np.zeros((4, 6), int), small, small)])


def test_saved_figure_is_a_complete_png_and_the_only_file(tmp_path):
    scores = np.random.default_rng(5).normal(size=(20, 40))
    row = ComparisonRow(np.zeros((20, 40, 3), np.uint8), np.zeros((20, 40), int), scores, scores)
    path = save_figure(comparison_figure([row]), tmp_path / "deep" / "figure.png", dpi=50)
    with Image.open(path) as image:
        image.load()
        assert image.width > image.height
    assert [entry.name for entry in path.parent.iterdir()] == ["figure.png"]


def test_no_global_figure_state():
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
