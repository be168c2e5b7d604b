"""Sprawling components in parts, and what becomes an instance or a scene."""

from dataclasses import replace

import numpy as np
import pytest
from perception_scenes import PALETTE, decided

from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.instances import find_instances
from ood_seg.perception.core.parts import components, split_components
from ood_seg.perception.core.types import OBJECT, SCENE, Frame, Prediction
from ood_seg.refinement import without_slivers


def two_animals(other=3):
    """Two blocks of 40 x 40, far apart, with a line of flagged pixels between them."""
    mask = np.zeros((120, 200), bool)
    mask[10:50, 10:50] = mask[70:110, 150:190] = True
    mask[48:52, 48:152] = mask[50:72, 148:152] = True
    labels = np.full(mask.shape, 2, np.uint8)
    labels[:, 100:] = other
    return mask, labels


def test_what_a_line_connects_is_split_where_the_class_changes():
    mask, labels = two_animals()
    parts = split_components(mask, labels)
    np.testing.assert_array_equal(parts.numbers > 0, mask)
    assert parts.numbers.max() == 2
    left, right = parts.numbers[30, 30], parts.numbers[90, 170]
    assert left != right
    assert (parts.numbers[mask & (labels == 2)] == left).all()
    assert (parts.numbers[mask & (labels == 3)] == right).all()
    for number in (left, right):
        rows, columns = np.nonzero(parts.numbers == number)
        box = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
        assert parts.stats[number].tolist() == [*box, rows.size]
        assert parts.divided[number]


def test_what_may_be_one_object_stays_whole():
    mask, labels = two_animals(other=2)
    assert split_components(mask, labels).numbers.max() == 1  # one class
    solid = np.zeros((120, 200), bool)
    solid[20:100, 40:160] = True
    labels[:, 100:] = 3
    assert split_components(solid, labels).numbers.max() == 1  # its hull is full
    mask, labels = two_animals()
    wide = np.zeros((1200, 2000), bool)
    wide[:120, :200] = mask
    classes = np.zeros(wide.shape, np.uint8)
    classes[:120, :200] = labels
    assert split_components(wide, classes).numbers.max() == 1  # small in its image


def test_large_components_are_divided_at_the_same_places():
    mask, labels = two_animals()
    small = split_components(mask, labels)
    large = split_components(mask.repeat(7, 0).repeat(7, 1), labels.repeat(7, 0).repeat(7, 1))
    assert large.numbers.max() == 2
    expected = small.numbers.repeat(7, 0).repeat(7, 1)
    assert (large.numbers > 0).sum() == (expected > 0).sum()
    assert (large.numbers != expected).mean() < 0.001
    assert large.stats[1:, 4].sum() == 49 * mask.sum()


def test_small_parts_belong_to_their_neighbours():
    mask, labels = two_animals()
    labels[20:26, 20:26] = 7  # 36 of some 3700 pixels
    assert split_components(mask, labels).numbers.max() == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_without_large_components_parts_are_the_components(dtype):
    rng = np.random.default_rng(0)
    mask = rng.random((60, 90)) < 0.1
    labels = rng.integers(0, 5, mask.shape).astype(dtype)
    expected, found = components(mask), split_components(mask, labels)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)
    empty = split_components(np.zeros((5, 6), bool), np.zeros((5, 6), dtype))
    assert (empty.numbers.max(), len(empty.stats)) == (0, 1)


def test_instances_of_parts_have_their_own_measures_and_contours():
    mask, labels = two_animals()
    scores = np.where(labels == 3, 5, 1).astype(np.float32)
    right, left = find_instances(mask, scores, labels=labels)
    assert (right.mean_score, left.mean_score) == (5, 1)
    assert right.box[0] == left.box[0] + left.box[2] == 100
    assert left.area + right.area == mask.sum()
    for one in (left, right):
        assert one.contour[:, 0].min() == one.box[0]
        assert one.contour[:, 1].max() == one.box[1] + one.box[3] - 1
        assert one.contour.dtype == np.int32
    assert len(find_instances(mask, scores)) == 1
    with pytest.raises(ValueError, match=r"labels: expected the shape of the mask \(120, 200\)"):
        find_instances(mask, scores, labels=labels.T)


def test_what_fills_the_region_is_a_scene():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:50, :, 0] = 255
    image[90:95, 90:95, 0] = 200
    small, large = sorted(decided(image, 100).instances, key=lambda one: one.area)
    assert (small.kind, large.kind) == (OBJECT, SCENE)
    assert [one["kind"] for one in decided(image, 100).to_dict()["instances"]] == [SCENE, OBJECT]
    kinds = [one.kind for one in decided(image, 100, scene_share=0.5).instances]
    assert kinds == [OBJECT, OBJECT]
    # A share of the region, not of the image.
    quarter = decided(image, 100, region=lambda labels: np.indices(labels.shape)[0] >= 25)
    assert [one.kind for one in quarter.instances] == [OBJECT, OBJECT]
    tenth = decided(image, 100, region=lambda labels: np.indices(labels.shape)[0] < 60)
    assert [one.kind for one in tenth.instances] == [SCENE]


def boundary_scene():
    """Scores that are high on a strip of 6 pixels between two classes, and on an object."""
    labels = np.zeros((80, 120), np.uint8)
    labels[40:] = 1
    scores = np.full(labels.shape, -9, np.float32)
    scores[37:43] = -1
    scores[5:25, 30:55] = -2
    return Prediction(labels, scores)


def test_boundary_suppression_drops_slivers_and_leaves_scores():
    prediction = boundary_scene()
    frame = Frame(np.zeros((80, 120, 3), np.uint8), "a")
    plain = DecisionRule(-5, min_area=1)
    decide = replace(plain, boundary_suppression=9)
    before = plain(frame, prediction, palette=PALETTE, score_name="Energy")
    after = decide(frame, prediction, palette=PALETTE, score_name="Energy")
    assert (len(before.instances), len(after.instances)) == (2, 1)
    assert after.instances[0].box == (30, 5, 25, 20)
    assert not after.mask[30:50].any()
    assert after.anomaly is prediction.anomaly
    # The same as thresholding the refined scores, and nothing where the width is less.
    refined = without_slivers(prediction.anomaly, prediction.labels, width=9)
    np.testing.assert_array_equal(after.mask, refined >= -5)
    narrow = replace(plain, boundary_suppression=3)
    kept = narrow(frame, prediction, palette=PALETTE, score_name="Energy")
    np.testing.assert_array_equal(kept.mask, before.mask)


def test_bad_numbers_are_refused():
    for width in (-1, 256):
        with pytest.raises(ValueError, match=f"boundary suppression: .*255.*{width}"):
            DecisionRule(1.0, boundary_suppression=width)
    for share in (0, 1.1):
        with pytest.raises(ValueError, match=f"scene_share: .*got {share}"):
            DecisionRule(1.0, scene_share=share)
