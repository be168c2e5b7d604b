"""Overlays: every style lies on the pixels that it shows, and can be read."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from perception_scenes import PALETTE, decided, grey_image, texture

from ood_seg.perception.core.overlay import (
    DARK,
    EDGE,
    REGION,
    STYLES,
    TINT,
    blend_labels,
    caption,
    draw_boxes,
    draw_edges,
    heat_map,
    mask_edges,
)
from ood_seg.perception.core.regions import PolygonRegion
from ood_seg.perception.core.types import SCENE
from ood_seg.visualization import label_overlay

ODD = [(37, 53), (101, 67), (1, 1), (5, 300)]


def scene(height=300, width=400, **options):
    """A grey image with one object of 40 x 60 pixels at (200, 150), decided."""
    image = np.full((height, width, 3), (80, 90, 100), np.uint8)
    image[200:240, 150:210, 0] = 250
    return decided(image, 200, **options)


@pytest.mark.parametrize(("height", "width"), ODD)
@pytest.mark.parametrize("style", STYLES)
def test_an_overlay_has_the_size_of_the_image(height, width, style):
    image = grey_image(texture(height, width) if height > 1 else np.full((1, 1), 9, np.uint8))
    before = image.copy()
    for threshold in (150, 400, None):
        drawn = decided(image, threshold).overlay(style)
        twice = 2 if style == "side-by-side" else 1
        assert (drawn.shape, drawn.dtype) == ((height, twice * width, 3), np.uint8)
        np.testing.assert_array_equal(image, before)


def test_a_decision_leaves_everything_else_as_it_is():
    result = scene()
    drawn = result.overlay()
    changed = (drawn != result.image).any(axis=2)
    rows, columns = np.nonzero(changed[:230])  # above the legend, which is at the bottom
    assert (rows.min(), columns.min()) >= (170, 140)  # the label above the object
    inner = drawn[205:235, 155:205]
    expected = np.rint(0.55 * result.image[205:235, 155:205] + 0.45 * np.array(TINT))
    np.testing.assert_allclose(inner, expected, atol=1)
    assert changed[-12:, :60].any()  # the legend
    np.testing.assert_array_equal(scene().overlay("side-by-side")[:, :400], result.image)
    np.testing.assert_array_equal(scene().overlay("side-by-side")[:, 400:], drawn)


def test_styles_without_a_threshold():
    image = grey_image(texture(60, 80))
    undecided = decided(image, None)
    np.testing.assert_array_equal(undecided.overlay(), undecided.overlay("heat"))
    np.testing.assert_array_equal(undecided.overlay("decision"), image)
    decision = decided(image, 150)
    np.testing.assert_array_equal(decision.overlay(), decision.overlay("decision"))
    assert (decision.overlay() != decision.overlay("heat")).any()


def test_the_outline_is_bright_inside_and_dark_outside():
    image = np.full((60, 80, 3), 128, np.uint8)
    mask = np.zeros((60, 80), np.uint8)
    mask[20:40, 30:60] = 1
    draw_edges(image, mask)
    inner, outer = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    inner[20:40, 30:60], inner[21:39, 31:59] = True, False
    outer[19:41, 29:61], outer[20:40, 30:60] = True, False
    assert (image[inner] == EDGE).all()
    assert (image[outer] == DARK).all()
    assert (image[~inner & ~outer] == 128).all()
    at_the_border = np.full((9, 9, 3), 128, np.uint8)
    draw_edges(at_the_border, np.ones((9, 9), np.uint8))
    assert (at_the_border[0] == EDGE).all()
    assert (at_the_border[1:-1, 1:-1] == 128).all()


def test_edges_are_flagged_pixels_with_an_unflagged_neighbour():
    rng = np.random.default_rng(0)
    mask = (rng.random((15, 17)) < 0.85).astype(np.uint8)
    for width in (1, 2):
        padded = np.pad(mask, width)
        expected = np.zeros(mask.shape, bool)
        for y, x in np.argwhere(mask):
            expected[y, x] = not padded[y : y + 2 * width + 1, x : x + 2 * width + 1].all()
        np.testing.assert_array_equal(mask_edges(mask, width), expected)


@pytest.mark.parametrize("shape", [(240, 320), (720, 1280), (2160, 3840)])
def test_boxes_lie_on_the_outermost_pixels_of_objects(shape):
    result = scene(*shape, min_area=5)
    box = result.instances[0].box
    assert box == (150, 200, 60, 40)
    drawn = np.zeros((*shape, 3), np.uint8)
    draw_boxes(drawn, result.instances)
    for y, x in ((200, 180), (239, 180), (220, 150), (220, 209)):
        assert (drawn[y, x] == 255).all()
    assert not drawn[214:226, 164:196].any()


def test_colours_differ_in_lightness_for_any_eye():
    """The two sides of an outline, and the tint on asphalt, grass and sky, as colours are lost."""

    def luminance(bgr):
        linear = (np.asarray(bgr[::-1]) / 255) ** 2.2
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for bright in (EDGE, REGION):
        assert (luminance(bright) + 0.05) / (luminance(DARK) + 0.05) > 7  # WCAG AAA
    # Machado et al. 2009, severity 1, in linear RGB: protanopia, deuteranopia, tritanopia.
    losses = np.array(
        [
            [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
            [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
            [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
        ]
    )
    for loss in losses:
        for background in ((90, 90, 90), (40, 110, 60), (230, 180, 130)):
            tinted = 0.55 * np.array(background) + 0.45 * np.array(TINT)
            seen = [loss @ ((np.asarray(c)[::-1] / 255) ** 2.2) for c in (background, tinted)]
            assert np.abs(seen[0] - seen[1]).max() > 0.08


def test_the_region_is_a_line():
    region = PolygonRegion(((50, 60), (350, 60), (350, 280), (50, 280)))
    plain, limited = scene(), scene(region=region)
    assert (limited.overlay()[60, 100:300] == REGION).all()
    assert (limited.overlay()[100:250, 50] == REGION).all()
    differs = (plain.overlay() != limited.overlay()).any(axis=2)
    assert not differs[70:190, 70:330].any()


def test_a_scene_has_no_box_but_a_line_in_the_legend():
    result = scene()
    (one,) = result.instances
    whole = replace(result, instances=(replace(one, kind=SCENE),))
    empty = np.zeros((300, 400, 3), np.uint8)
    draw_boxes(empty, whole.instances)
    assert not empty.any()
    # One line more than the one of the threshold.
    heights = [
        np.argwhere((drawn != result.image).any(axis=2)[245:]).min(axis=0)[0]
        for drawn in (whole.overlay(), replace(result, instances=()).overlay())
    ]
    assert heights[0] < heights[1]


def test_labels_are_blended_as_in_the_figures():
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    labels = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17) % 4
    labels[labels == 3] = 255  # no class, and so is 2
    for alpha in (0.0, 0.5, 1.0):
        ours = blend_labels(image, labels, PALETTE, alpha)
        theirs = label_overlay(image[..., ::-1], labels, PALETTE.colours, alpha)
        np.testing.assert_array_equal(ours[..., ::-1], theirs)
    result = replace(decided(image, None), labels=labels)
    np.testing.assert_array_equal(
        result.overlay("classes", alpha=0.3), blend_labels(image, labels, PALETTE, 0.3)
    )


@pytest.mark.parametrize(("height", "width"), [(37, 53), (31, 67)])
def test_heat_lies_on_the_scored_pixel(height, width):
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
        image = np.zeros((height, width, 3), np.uint8)
        image[y, x, 0] = 255
        drawn = decided(image, None).overlay(alpha=1.0, limits=(0, 255))
        bright = drawn.sum(axis=2) > 300
        assert np.argwhere(bright).tolist() == [[y, x]]


def test_heat_map_rises_and_has_the_range_asked_for():
    values = np.linspace(-12, 4, 64, dtype=np.float32).reshape(8, 8)
    brightness = heat_map(values, (-12, 4)).astype(int).sum(axis=2).ravel()
    assert (np.diff(brightness) >= 0).all()
    assert (brightness[0], brightness[-1]) == (brightness.min(), brightness.max())
    clipped = heat_map(values, (-4, 0))
    assert len(np.unique(clipped[values <= -4].reshape(-1, 3), axis=0)) == 1
    inferno = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_INFERNO)[0]
    np.testing.assert_array_equal(heat_map(np.float32([[0, 1]]), (0, 1))[0], inferno)
    assert heat_map(np.full((3, 3), -7, np.float32)).shape == (3, 3, 3)  # constant


def test_probability_is_shown_from_0_to_1_where_there_is_one():
    image = grey_image(texture(37, 53))
    result = decided(image, None)
    certain = replace(result, probability=np.full((37, 53), 0.02, np.float32))
    assert (certain.overlay("heat", alpha=1.0).max(axis=2) < 60).all()
    np.testing.assert_array_equal(certain.overlay(limits=(0, 255)), result.overlay(limits=(0, 255)))


def test_captions():
    image = np.zeros((9, 9, 3), np.uint8)
    image[2:5, 2:5, 0] = 100
    (one,) = decided(image, 50).instances
    assert caption(one) == "unknown 100.0"
    assert caption(replace(one, probability=0.874)) == "unknown 87 %"
    assert caption(replace(one, probability=0.874, track=3)) == "#3 unknown 87 %"


def test_boxes_at_every_border_of_a_large_image_are_drawn():
    image = np.zeros((1200, 1300, 3), np.uint8)
    for y, x in ((0, 0), (0, 1290), (1190, 0), (1190, 1290)):
        image[y : y + 10, x : x + 10, 0] = 255
    instances = decided(image, 100).instances
    assert len(instances) == 4
    drawn = image.copy()
    draw_boxes(drawn, instances)
    changed = (drawn != image).any(axis=2)
    for y, x in ((0, 0), (0, 1299), (1199, 0), (1199, 1299)):
        assert (drawn[y, x] == 255).all()
    assert not changed[200:1000].any()


def test_former_layers_are_styles_now():
    result = scene()
    for layer, style in (("anomaly", "heat"), ("labels", "classes"), ("none", "decision")):
        with pytest.warns(DeprecationWarning, match=f"layer='{layer}'.*style='{style}'"):
            drawn = result.overlay(layer=layer)
        np.testing.assert_array_equal(drawn, result.overlay(style))


def test_bad_options_are_refused():
    result = decided(np.zeros((9, 9, 3), np.uint8), None)
    with pytest.raises(ValueError, match=r"style: expected one of decision, heat, .*, got 'hot'"):
        result.overlay("hot")
    with pytest.raises(ValueError, match="layer: expected one of anomaly, labels, none, got 'hea"):
        result.overlay(layer="heat")
    with pytest.raises(ValueError, match=r"alpha: expected 0..1, got 1.5"):
        result.overlay(alpha=1.5)
    with pytest.raises(ValueError, match=r"range.*low < high, got 1.0 and 1.0"):
        result.overlay(limits=(1, 1))


def test_plot_writes_a_file(tmp_path):
    result = decided(grey_image(texture(37, 53)), 150)
    drawn = result.plot(tmp_path / "new" / "a.png", style="classes")
    written = cv2.imread(str(tmp_path / "new" / "a.png"))
    np.testing.assert_array_equal(written[..., ::-1], drawn)
    with pytest.raises(ValueError, match=r"a\.xyz.*'\.xyz'"):
        result.plot(tmp_path / "a.xyz")
