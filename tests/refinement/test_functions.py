"""Pure functions of the refinement against slow loops and hand-drawn cases."""

import numpy as np
import pytest

from ood_seg.refinement import (
    Box,
    grid_segments,
    layered,
    lowered_in_known_boxes,
    pooled,
    raised_by_saliency,
    without_slivers,
)
from ood_seg.refinement.segments import felzenszwalb_segments, slic_segments


def random_maps(seed, size=(13, 17), regions=6):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=size).astype(np.float32)
    return scores, rng.integers(0, regions, size), rng.random(size).astype(np.float32)


def slow_pooled(scores, regions, weight, keep):
    found = scores.copy()
    for number in range(regions.max() + 1):
        pixels = [(y, x) for y, x in np.ndindex(*scores.shape) if regions[y, x] == number]
        if number == keep or not pixels:
            continue
        mean = sum(float(scores[place]) for place in pixels) / len(pixels)
        for place in pixels:
            found[place] = scores[place] + weight * (mean - scores[place])
    return found


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("keep", [None, 0, 4])
def test_pooled_equals_a_loop_over_pixels(weight, keep):
    scores, regions, _ = random_maps(3)
    before = scores.copy()
    found = pooled(scores, regions, weight=weight, keep=keep)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_pooled(scores, regions, weight, keep), atol=1e-6)
    np.testing.assert_array_equal(scores, before)


def test_pooled_refuses_other_sizes_and_negative_numbers():
    scores, regions, _ = random_maps(0)
    with pytest.raises(ValueError, match=r"13x17.*12x17"):
        pooled(scores, regions[1:])
    with pytest.raises(ValueError, match="-1"):
        pooled(scores, regions - 1)


def test_smaller_masks_lie_on_larger_ones():
    masks = np.zeros((3, 4, 6), bool)
    masks[0, 1:3, 1:3] = True  # a part
    masks[1, :, :4] = True  # the whole, given later
    masks[2, 3, 3:] = True  # cuts the whole's corner
    expected = [
        [1, 1, 1, 1, 0, 0],
        [1, 2, 2, 1, 0, 0],
        [1, 2, 2, 1, 0, 0],
        [1, 1, 1, 3, 3, 3],
    ]
    regions = layered(masks)
    # Numbers rise as areas fall: 16, 4 and 3 pixels.
    np.testing.assert_array_equal(regions, expected)


def test_a_label_map_is_renumbered_and_zero_stays_no_object():
    labels = np.array([[0, 7, 7], [65535, 0, 7]], np.uint16)
    np.testing.assert_array_equal(layered(labels), [[0, 1, 1], [2, 0, 1]])
    full = np.array([[5, 5], [9, 9]])
    np.testing.assert_array_equal(layered(full), [[1, 1], [2, 2]])
    for wrong in (labels.astype(float), -full, np.zeros((1, 2, 2), np.uint8)):
        with pytest.raises(ValueError, match="masks"):
            layered(wrong)


def slow_boxes(scores, boxes, weight, outside):
    found = scores.copy()
    for y, x in np.ndindex(*scores.shape):
        inside = [
            b
            for b in boxes
            if b.left <= x + 0.5 < b.left + b.width and b.top <= y + 0.5 < b.top + b.height
        ]
        if not inside:
            found[y, x] -= outside
        elif all(b.known for b in inside):
            found[y, x] -= weight * max(b.confidence for b in inside)
    return found


def test_known_boxes_take_score_away_and_unknown_ones_keep_it():
    scores, _, _ = random_maps(5, (12, 20))
    boxes = [
        Box(2, 1, 8, 6, known=True, confidence=0.9),
        Box(6, 3, 10, 5, known=True, confidence=0.4),
        Box(4, 4, 4, 4, known=False, confidence=0.2),
        Box(17, 9, 30, 30, known=True),  # reaches beyond the image
        Box(-5, -5, 6, 6, known=True, confidence=0.5),
    ]
    for outside in (0.0, 1.5):
        found = lowered_in_known_boxes(scores, boxes, weight=3.0, outside=outside)
        np.testing.assert_allclose(found, slow_boxes(scores, boxes, 3.0, outside), atol=1e-6)
        assert (found <= scores).all()
    np.testing.assert_array_equal(lowered_in_known_boxes(scores, [], weight=3.0), scores)


@pytest.mark.parametrize("confident", [None, 0.2])
@pytest.mark.parametrize("known", [(1, 2), ()])
def test_saliency_raises_what_is_no_known_object(confident, known):
    scores, labels, saliency = random_maps(7)
    found = raised_by_saliency(
        scores, saliency, labels, weight=2.5, known=known, confident=confident
    )
    for place in np.ndindex(*scores.shape):
        trusted = labels[place] in known and (confident is None or scores[place] <= confident)
        gain = 0.0 if trusted else 2.5 * saliency[place]
        assert found[place] == pytest.approx(scores[place] + gain, abs=1e-6)


def test_saliency_refuses_what_it_cannot_use():
    scores, labels, saliency = random_maps(1)
    with pytest.raises(ValueError, match="0 to 1"):
        raised_by_saliency(scores, saliency * 255, labels, weight=1)
    with pytest.raises(ValueError, match="0 to 1"):
        raised_by_saliency(scores, saliency * np.float32(np.nan), labels, weight=1)
    with pytest.raises(ValueError, match="labels"):
        raised_by_saliency(scores, saliency, weight=1)
    with pytest.raises(ValueError, match=r"saliency.*13x17.*13x16"):
        raised_by_saliency(scores, saliency[:, 1:], labels, weight=1)


def test_thin_strips_on_borders_go_and_what_is_wide_or_elsewhere_stays():
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 30:] = 1
    scores = np.zeros((60, 80), np.float32)
    scores[:, 28:33] = 5  # a sliver of 5 pixels on the border
    scores[10:30, 20:45] = 6  # an object on the border
    scores[:, 70:73] = 4  # a strip far from the border
    found = without_slivers(scores, labels, width=7)
    assert (found <= scores).all()
    assert found[40:, 28:33].max() == 0
    assert found[15:25, 25:40].min() == 6
    np.testing.assert_array_equal(found[:, 70:], scores[:, 70:])
    np.testing.assert_array_equal(without_slivers(scores, labels * 0, width=7), scores)


def two_colours(height=90, width=160, border=71):
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, border:] = (200, 180, 160)
    return image


@pytest.mark.parametrize("find", [grid_segments, slic_segments])
def test_segments_follow_an_edge_and_cover_the_image(find):
    if find is slic_segments:
        pytest.importorskip("skimage")
    regions = find(two_colours(), 8)
    assert regions.shape == (90, 160)
    assert regions.min() >= 0
    assert 8 <= len(np.unique(regions)) <= 80
    left, right = set(np.unique(regions[:, :69])), set(np.unique(regions[:, 74:]))
    assert not left & right


def test_felzenszwalb_finds_the_two_halves():
    pytest.importorskip("skimage")
    regions = felzenszwalb_segments(two_colours(), 400)
    assert len(np.unique(regions[:, :65])) == len(np.unique(regions[:, 80:])) == 1
    assert regions[0, 0] != regions[0, -1]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 700), (2, 2), (900, 5)])
def test_grid_segments_of_any_size(size):
    regions = grid_segments(np.zeros((*size, 3), np.uint8), 21)
    assert regions.shape == size
    assert regions.min() >= 0
