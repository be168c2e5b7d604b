"""Overlays: every layer lies on the pixels that it shows."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from perception_scenes import PALETTE, decided, grey_image, texture

from ood_seg.perception.core.overlay import blend_labels, caption, heat_map, mask_edges
from ood_seg.visualization import label_overlay

ODD = [(37, 53), (101, 67), (1, 1), (5, 300)]


@pytest.mark.parametrize(("height", "width"), ODD)
@pytest.mark.parametrize("layer", ["anomaly", "labels", "none"])
def test_an_overlay_has_the_size_of_the_image(height, width, layer):
    image = grey_image(texture(height, width) if height > 1 else np.full((1, 1), 9, np.uint8))
    before = image.copy()
    drawn = decided(image, 400).overlay(layer=layer)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
    if layer == "none":
        np.testing.assert_array_equal(drawn, image)


@pytest.mark.parametrize(("height", "width"), ODD[:2])
def test_heat_lies_on_the_scored_pixel(height, width):
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, width // 3)):
        image = np.zeros((height, width, 3), np.uint8)
        image[y, x, 0] = 255
        drawn = decided(image, None).overlay(alpha=1.0, limits=(0, 255))
        bright = drawn.sum(axis=2) > 300
        assert np.argwhere(bright).tolist() == [[y, x]]


def test_box_and_edges_lie_on_their_pixels():
    image = np.zeros((61, 83, 3), np.uint8)
    image[20:33, 40:57, 0] = 200
    result = decided(image, 100)
    drawn = result.overlay(layer="none")
    border = np.zeros((61, 83), bool)
    border[20:33, 40:57] = True
    border[21:32, 41:56] = False
    # Box and contour of a rectangle are the same pixels; the box is drawn last, in white.
    assert (drawn[border] == 255).all()
    inner = np.s_[21:32, 41:56]
    np.testing.assert_array_equal(drawn[inner], image[inner])
    edges = replace(result, instances=()).overlay(layer="none")
    np.testing.assert_array_equal((edges != image).any(axis=2), border)


def test_edges_are_flagged_pixels_with_an_unflagged_neighbour():
    rng = np.random.default_rng(0)
    mask = (rng.random((15, 17)) < 0.85).astype(np.uint8)
    padded = np.pad(mask, 1)
    expected = np.zeros(mask.shape, bool)
    for y, x in np.argwhere(mask):
        expected[y, x] = not padded[y : y + 3, x : x + 3].all()
    np.testing.assert_array_equal(mask_edges(mask), expected)


def test_labels_are_blended_as_in_the_figures():
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    labels = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17) % 4
    labels[labels == 3] = 255  # no class, and so is 2
    for alpha in (0.0, 0.5, 1.0):
        ours = blend_labels(image, labels, PALETTE, alpha)
        theirs = label_overlay(image[..., ::-1], labels, PALETTE.colours, alpha)
        np.testing.assert_array_equal(ours[..., ::-1], theirs)


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
    assert (certain.overlay(alpha=1.0).max(axis=2) < 60).all()
    np.testing.assert_array_equal(certain.overlay(limits=(0, 255)), result.overlay(limits=(0, 255)))


def test_captions():
    image = np.zeros((9, 9, 3), np.uint8)
    image[2:5, 2:5, 0] = 100
    (one,) = decided(image, 50).instances
    assert caption(one) == "100.00"
    assert caption(replace(one, probability=0.874, track=3)) == "#3 0.87"


def test_boxes_at_every_border_of_a_large_image_are_drawn():
    image = np.zeros((1200, 1300, 3), np.uint8)
    for y, x in ((0, 0), (0, 1290), (1190, 0), (1190, 1290)):
        image[y : y + 10, x : x + 10, 0] = 255
    result = decided(image, 100)
    assert len(result.instances) == 4
    drawn = result.overlay(layer="none")
    changed = (drawn != image).any(axis=2)
    for y, x in ((0, 0), (0, 1299), (1199, 0), (1199, 1299)):
        assert (drawn[y, x] == 255).all()
    assert not changed[200:1000].any()


def test_bad_options_are_refused():
    result = decided(np.zeros((9, 9, 3), np.uint8), None)
    with pytest.raises(ValueError, match="layer: expected one of anomaly, labels, none, got 'hea"):
        result.overlay(layer="heat")
    with pytest.raises(ValueError, match=r"alpha: expected 0..1, got 1.5"):
        result.overlay(alpha=1.5)
    with pytest.raises(ValueError, match=r"range.*low < high, got 1.0 and 1.0"):
        result.overlay(limits=(1, 1))


def test_plot_writes_a_file(tmp_path):
    result = decided(grey_image(texture(37, 53)), 150)
    drawn = result.plot(tmp_path / "new" / "a.png", layer="labels")
    written = cv2.imread(str(tmp_path / "new" / "a.png"))
    np.testing.assert_array_equal(written[..., ::-1], drawn)
    with pytest.raises(ValueError, match=r"a\.xyz.*'\.xyz'"):
        result.plot(tmp_path / "a.xyz")
