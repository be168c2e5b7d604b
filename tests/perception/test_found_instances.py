"""Connected components with their measures, against a flood fill."""

import numpy as np
import pytest

from ood_seg.perception.core.instances import find_instances


def slow_instances(mask, scores, min_area):
    """Flood fill pixel by pixel: box, area, mean and maximum of each component."""
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        stack, pixels = [left.pop()], []
        while stack:
            y, x = stack.pop()
            pixels.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack += near
        if len(pixels) >= min_area:
            ys, xs = zip(*pixels, strict=True)
            values = [float(scores[pixel]) for pixel in pixels]
            box = (min(xs), min(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1)
            found.append((sum(values) / len(values), max(values), box, len(pixels)))
    return sorted(found, key=lambda one: (-one[0], one[2][1], one[2][0]))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("min_area", [1, 4])
def test_equal_to_a_flood_fill(share, min_area):
    rng = np.random.default_rng(int(share * 100))
    mask = rng.random((37, 53)) < share
    scores = rng.normal(-5, 3, mask.shape).astype(np.float32)
    found = find_instances(mask, scores, np.exp(-np.abs(scores)), min_area=min_area)
    expected = slow_instances(mask, scores, min_area)
    assert [(one.box, one.area) for one in found] == [(box, area) for *_, box, area in expected]
    for one, (mean, highest, *_) in zip(found, expected, strict=True):
        assert one.mean_score == pytest.approx(mean, rel=1e-9)
        assert one.max_score == pytest.approx(highest, rel=1e-9)


def test_two_pixels_by_hand():
    mask, scores = np.zeros((4, 5), np.uint8), np.full((4, 5), -9, np.float32)
    probability = np.zeros((4, 5), np.float32)
    # Diagonal neighbours are one component.
    mask[1, 3] = mask[2, 4] = 255
    scores[1, 3], scores[2, 4] = -2, 1
    probability[1, 3], probability[2, 4] = 0.25, 0.75
    (one,) = find_instances(mask, scores, probability)
    assert (one.box, one.area, one.mean_score, one.max_score) == ((3, 1, 2, 2), 2, -0.5, 1)
    assert one.probability == 0.5
    assert one.track is None
    assert sorted(map(tuple, one.contour.tolist())) == [(3, 1), (4, 2)]
    assert find_instances(mask, scores, min_area=3) == ()
    assert find_instances(mask, scores)[0].probability is None


def test_component_in_the_hole_of_another_has_its_own_contour():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1:8] = True
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    scores = np.where(mask, 1, 0).astype(np.float32)
    scores[4, 4] = 5
    inner, ring = find_instances(mask, scores)
    assert inner.contour.tolist() == [[4, 4]]
    # The outer side of the ring alone.
    assert sorted(map(tuple, ring.contour.tolist())) == [(1, 1), (1, 7), (7, 1), (7, 7)]
    assert ring.contour.dtype == np.int32


def test_order_of_ties_is_from_the_top_then_from_the_left():
    mask = np.zeros((7, 7), bool)
    mask[0, 6] = mask[0, 0] = mask[6, 0] = True
    boxes = [one.box[:2] for one in find_instances(mask, np.ones((7, 7), np.float32))]
    assert boxes == [(0, 0), (6, 0), (0, 6)]


def test_objects_at_the_border_and_empty_masks():
    full = find_instances(np.ones((3, 4)), np.zeros((3, 4), np.float32))
    assert [one.box for one in full] == [(0, 0, 4, 3)]
    assert full[0].contour.tolist()[0] == [0, 0]
    assert find_instances(np.zeros((3, 4)), np.zeros((3, 4), np.float32)) == ()


def test_bad_input_is_refused():
    mask = np.ones((3, 4))
    with pytest.raises(ValueError, match=r"mask: expected \(H, W\), got shape \(3, 4, 1\)"):
        find_instances(mask[..., None], mask)
    with pytest.raises(ValueError, match=r"probability: expected the shape of the mask \(3, 4\)"):
        find_instances(mask, mask, mask.T)
    with pytest.raises(ValueError, match="min_area, in pixels, must be at least 1; got 0"):
        find_instances(mask, mask, min_area=0)
