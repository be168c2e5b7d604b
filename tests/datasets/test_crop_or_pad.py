"""The crop of the published recipes: uniform places, padding around the centre."""

import numpy as np
import pytest

pytest.importorskip("mmseg")

from ood_seg.datasets import CropOrPad

COLOUR = (7, 8, 9)


def scene(height, width):
    """A scene whose red and green channels and labels say where each pixel comes from."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)
    return {"img": image, "gt_seg_map": (10 * rows + columns).astype(np.uint8)}


def test_a_smaller_scene_is_padded_around_its_centre_odd_rows_below():
    result = CropOrPad((5, 8), COLOUR)(scene(2, 5))
    before = scene(2, 5)
    expected = np.full((5, 8), 255, np.uint8)
    expected[1:3, 1:6] = before["gt_seg_map"]  # 3 rows: 1 above, 2 below; 3 columns likewise
    np.testing.assert_array_equal(result["gt_seg_map"], expected)
    np.testing.assert_array_equal(result["img"][1:3, 1:6], before["img"])
    assert (result["img"][expected == 255] == COLOUR).all()
    assert result["img_shape"] == (5, 8)
    assert result["img"].dtype == result["gt_seg_map"].dtype == np.uint8


def test_a_larger_scene_is_cropped_everywhere_equally_often():
    np.random.seed(0)
    transform = CropOrPad((3, 4), COLOUR)
    starts = []
    for _ in range(600):
        result = transform(scene(5, 6))
        top, left, _ = result["img"][0, 0]
        expected = scene(5, 6)["gt_seg_map"][top : top + 3, left : left + 4]
        np.testing.assert_array_equal(result["gt_seg_map"], expected)
        starts.append((int(top), int(left)))
    counts = [starts.count((top, left)) for top in range(3) for left in range(3)]
    assert sum(counts) == 600
    assert 40 <= min(counts) <= max(counts) <= 95  # 66.7 each


def test_one_side_may_be_larger_and_the_other_smaller():
    result = CropOrPad((4, 4), COLOUR)(scene(2, 9))
    assert (result["gt_seg_map"][[0, 3]] == 255).all()
    assert (result["gt_seg_map"][1:3] != 255).all()


def test_equal_size_changes_nothing():
    before, result = scene(4, 4), CropOrPad((4, 4), COLOUR, overrun=1)(scene(4, 4))
    np.testing.assert_array_equal(result["img"], before["img"])


def test_overrun_reproduces_the_inclusive_bound_of_the_released_code():
    np.random.seed(0)
    transform = CropOrPad((3, 4), COLOUR, overrun=1)
    seen = set()
    for _ in range(300):
        result = transform(scene(5, 4))  # equally wide: no overrun to the right
        top = int(result["img"][0, 0, 0])
        seen.add(top)
        padded = (result["gt_seg_map"] == 255).all(axis=1)
        assert padded.tolist() == [False, False, top == 3]
    assert seen == {0, 1, 2, 3}


def test_the_colour_is_rounded_for_whole_numbers_and_kept_for_others():
    assert (CropOrPad((4, 4), (103.53, 0.4, 0.6))(scene(2, 2))["img"][0, 0] == (104, 0, 1)).all()
    floats = scene(2, 2)
    floats["img"] = floats["img"].astype(np.float32)
    colour = CropOrPad((4, 4), (103.53, 0.4, 0.6))(floats)["img"][0, 0]
    np.testing.assert_allclose(colour, (103.53, 0.4, 0.6), rtol=1e-6)


def test_the_arrays_passed_in_stay_as_they_are():
    given = scene(5, 6)
    image = given["img"]
    result = CropOrPad((3, 4), COLOUR)(given)
    result["img"][:] = 0
    np.testing.assert_array_equal(image, scene(5, 6)["img"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (0, 4)}, r"size .*\(0, 4\)"),
        ({"size": (4, 4, 4)}, r"size .*\(4, 4, 4\)"),
        ({"size": (4, 4), "pad_value": (0,)}, "3 in all"),
        ({"size": (4, 4), "overrun": -1}, r"overrun .*-1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CropOrPad(**{"pad_value": COLOUR, **arguments})


def test_labels_of_another_size_are_an_error():
    given = {**scene(5, 6), "gt_seg_map": np.zeros((5, 5), np.uint8)}
    with pytest.raises(ValueError, match="equally large"):
        CropOrPad((3, 4), COLOUR)(given)
