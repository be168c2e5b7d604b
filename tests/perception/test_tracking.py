"""Numbers of objects through gaps, crossings and flicker; boxes on hand-drawn masks."""

from dataclasses import replace

import numpy as np
import pytest
from perception_scenes import decided

from ood_seg.perception.core.tracking import InstanceTracker, box_ious, boxes, match_boxes

SIZE = (60, 120)


def frame(*places, index=0):
    """Result with a 10 x 10 object at each (left, top); off the image they are cut."""
    image = np.zeros((*SIZE, 3), np.uint8)
    for number, (left, top) in enumerate(places):
        image[max(top, 0) : max(top + 10, 0), max(left, 0) : left + 10, 0] = 100 + number
    return decided(image, 50, index=index)


def follow(tracker, sequence):
    """`{number: box}` of each frame; a frame is a list of places."""
    results = (tracker(frame(*places, index=k)) for k, places in enumerate(sequence))
    return [{one.track: one.box for one in result.instances} for result in results]


def test_a_moving_object_keeps_its_number():
    found = follow(InstanceTracker(birth=1), [[(4 * k, 20)] for k in range(10)])
    assert found == [{1: (4 * k, 20, 10, 10)} for k in range(10)]


def test_birth_needs_consecutive_frames():
    # Seen once, then never: no box. Seen twice on end: a box from the second on.
    found = follow(InstanceTracker(birth=2), [[(0, 0)], [(50, 0)], [(50, 0)], [(50, 0)]])
    assert [list(one) for one in found] == [[], [], [1], [1]]
    interrupted = [[(0, 0)], [(0, 0)], [], [(0, 0)], [(0, 0)], [(0, 0)]]
    assert [list(one) for one in follow(InstanceTracker(birth=3), interrupted)] == [[]] * 5 + [[1]]


def test_a_gap_is_bridged_along_the_motion():
    seen = [[(5 * k, 20)] for k in range(12)]
    gaps = [*seen[:4], [], [], [], *seen[7:]]
    found = follow(InstanceTracker(birth=2, death=3), gaps)
    assert found[0] == {}
    assert found[1:] == [{1: (5 * k, 20, 10, 10)} for k in range(1, 12)]


def test_death_after_more_misses_and_numbers_are_not_used_again():
    sequence = [[(20, 20)]] * 3 + [[]] * 3 + [[(20, 20)]] * 3
    found = follow(InstanceTracker(birth=2, death=2), sequence)
    assert [list(one) for one in found] == [[], [1], [1], [1], [1], [], [], [2], [2]]
    found = follow(InstanceTracker(birth=1, death=0), sequence)
    assert [list(one) for one in found] == [[1]] * 3 + [[]] * 3 + [[2]] * 3


def test_numbers_survive_a_crossing():
    # Two objects pass each other, one row apart; at k = 6 they stand above one another.
    def places(k):
        return [(5 * k, 20), (60 - 5 * k, 31)]

    found = follow(InstanceTracker(birth=1), [places(k) for k in range(13)])
    lower = next(number for number, box in found[0].items() if box[1] == 31)
    for k, one in enumerate(found):
        left, right = places(k)
        assert one == {3 - lower: (*left, 10, 10), lower: (*right, 10, 10)}


def test_numbers_survive_a_crossing_in_one_line():
    # They hide each other: for three frames there is one component, wider than either.
    sequence = [[(6 * k, 20), (90 - 6 * k, 20)] for k in range(16)]
    found = follow(InstanceTracker(birth=1, death=5), sequence)
    first = {number for number, box in found[0].items() if box[0] == 0}.pop()
    assert set(found[0]) == set(found[-1]) == {1, 2}
    assert found[-1][first][0] == 90


def test_a_flickering_box_is_reported_without_gaps():
    flickering = [[(30, 20)] if k % 3 else [] for k in range(1, 15)]
    found = follow(InstanceTracker(), flickering)
    assert [list(one) for one in found] == [[]] + [[1]] * 13


def test_missed_objects_leave_at_the_border():
    found = follow(InstanceTracker(birth=1, death=5), [[(104, 0)], [(108, 0)], [], [], [], []])
    assert found[2] == {1: (112, 0, 8, 10)}
    assert found[3] == {1: (116, 0, 4, 10)}
    assert found[4] == found[5] == {}


def test_missed_objects_keep_scores_and_move_their_contour():
    tracker = InstanceTracker(birth=1)
    shown = [tracker(frame(*p, index=k)).instances for k, p in enumerate([[(10, 20)], [(14, 22)]])]
    result = frame(index=2)
    (missed,) = tracker(result).instances
    assert missed.box == (18, 24, 10, 10)
    np.testing.assert_array_equal(missed.contour, shown[1][0].contour + np.int32([4, 2]))
    assert (missed.area, missed.mean_score) == (100, 100)
    assert not result.mask.any()


def test_frames_that_were_dropped_count_for_the_motion():
    tracker = InstanceTracker(birth=1)
    for k in (0, 1, 4, 5, 11):  # four pixels each frame
        (one,) = tracker(frame((4 * k, 20), index=k)).instances
        assert (one.track, one.box[0]) == (1, 4 * k)


def test_objects_move_with_the_time_that_passes():
    """20 pixels per second, whatever the time between two frames; missed in the fourth."""
    tracker = InstanceTracker(birth=1)
    for index, stamp in enumerate((0.0, 0.1, 0.3, 0.7, 1.1, 3.1)):
        places = [] if index == 3 else [(round(20 * stamp), 20)]
        (one,) = tracker(replace(frame(*places, index=index), stamp=stamp)).instances
        assert (one.track, one.box) == (1, (round(20 * stamp), 20, 10, 10))
    # The same jump of 40 pixels after the usual time is another object.
    result = replace(frame((102, 20), index=6), stamp=3.2)
    assert [one.track for one in tracker(result).instances] == [1, 2]


def test_equal_stamps_are_as_good_as_none():
    tracker = InstanceTracker(birth=1)
    for k in (0, 1, 4):
        (one,) = tracker(replace(frame((4, 20), index=k), stamp=9.0)).instances
        assert one.track == 1


def test_an_index_that_does_not_rise_starts_a_new_video():
    tracker = InstanceTracker(birth=1)
    tracker(frame((10, 20), index=5))
    assert [one.track for one in tracker(frame((10, 20), index=0)).instances] == [2]
    tracker.reset()
    assert [one.track for one in tracker(frame((10, 20), index=1)).instances] == [1]


def test_result_is_otherwise_the_same():
    before = frame((10, 20), (40, 20))
    after = InstanceTracker(birth=1)(before)
    assert after.mask is before.mask
    assert all(one.track is None for one in before.instances)
    assert [one.track for one in after.instances] == [1, 2]


def slow_iou(a, b):
    """Counted on a grid."""
    grid = np.zeros((2, 40, 40), bool)
    for part, (left, top, width, height) in zip(grid, (a, b), strict=True):
        part[top : top + height, left : left + width] = True
    return (grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum()


def test_overlap_equals_counting():
    rng = np.random.default_rng(0)
    first, second = (rng.integers(1, 18, (9, 4)) for _ in range(2))
    expected = [[slow_iou(a, b) for b in second] for a in first]
    np.testing.assert_allclose(box_ious(first.astype(float), second.astype(float)), expected)


def test_matching_takes_the_largest_overlap_first():
    old = np.array([[0, 0, 10, 10], [4, 0, 10, 10]], float)
    new = np.array([[3, 0, 10, 10]], float)
    assert match_boxes(old, new, 0.1) == [(1, 0)]
    assert match_boxes(old, new, 0.9) == []
    assert match_boxes(old, boxes(()), 0.1) == match_boxes(boxes(()), old, 0.1) == []


def test_bad_settings_are_refused():
    cases = (
        ({"min_iou": 0}, "0, 2 and 3"),
        ({"birth": 0}, "0.2, 0 and 3"),
        ({"death": -1}, "and -1"),
    )
    for setting, got in cases:
        with pytest.raises(ValueError, match=f"min_iou.*birth.*death.*got .*{got}"):
            InstanceTracker(**setting)
