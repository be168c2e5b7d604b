"""Pixel-exact checks of pasting on small arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_seg.labels import IGNORE, OUTLIER
from ood_seg.pasting import (
    crop_object,
    flip_object,
    paste_object,
    random_position,
    resize_object,
    scale_object,
)

MASK = np.array([[0, 1, 0], [1, 1, 1]], dtype=bool)


def make_scene() -> tuple[np.ndarray, np.ndarray]:
    """An 8x8 scene whose pixels all differ, with a column of ignored labels beside known ones."""
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    labels = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    labels[:, 3] = IGNORE
    return image, labels


def make_patch() -> np.ndarray:
    return 200 + np.arange(MASK.size * 3, dtype=np.uint8).reshape(*MASK.shape, 3)


def test_paste_copies_exactly_the_pixels_under_the_mask() -> None:
    image, labels = make_scene()
    patch = make_patch()
    new_image, new_labels = paste_object(image, labels, patch, MASK, 5, 2)
    expected_image, expected_labels = make_scene()
    for row, column in ((0, 1), (1, 0), (1, 1), (1, 2)):
        expected_image[5 + row, 2 + column] = patch[row, column]
        expected_labels[5 + row, 2 + column] = OUTLIER
    np.testing.assert_array_equal(new_image, expected_image)
    np.testing.assert_array_equal(new_labels, expected_labels)
    # (5, 3) and (6, 3) were ignored.
    assert new_labels[5, 3] == new_labels[6, 3] == OUTLIER
    assert new_labels[4, 3] == IGNORE


def test_paste_does_not_modify_its_inputs() -> None:
    scene, patch, mask = make_scene(), make_patch(), MASK.copy()
    paste_object(*scene, patch, mask, 0, 0)
    for given_array, original in zip(
        (*scene, patch, mask), (*make_scene(), make_patch(), MASK), strict=True
    ):
        np.testing.assert_array_equal(given_array, original)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 5), (6, 0), (6, 5)])
def test_paste_reaches_every_corner(top: int, left: int) -> None:
    _, labels = paste_object(*make_scene(), make_patch(), MASK, top, left)
    np.testing.assert_array_equal(labels[top : top + 2, left : left + 3] == OUTLIER, MASK)
    assert (labels == OUTLIER).sum() == 4


def test_paste_accepts_another_outlier_value_and_wide_labels() -> None:
    image, labels = make_scene()
    _, new_labels = paste_object(
        image, labels.astype(np.int64), make_patch(), MASK, 0, 0, outlier_index=1000
    )
    assert new_labels.dtype == np.int64
    assert (new_labels == 1000).sum() == 4


@pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (7, 0), (0, 6)])
def test_paste_over_the_border_is_an_error(top: int, left: int) -> None:
    with pytest.raises(ValueError, match=rf"top={top}.*left={left}.*8x8.*0\.\.6.*0\.\.5"):
        paste_object(*make_scene(), make_patch(), MASK, top, left)


@pytest.mark.parametrize("shape", [(9, 2), (2, 9)])
def test_paste_larger_than_the_scene_is_an_error(shape: tuple[int, int]) -> None:
    patch, mask = np.zeros((*shape, 3), np.uint8), np.ones(shape, bool)
    with pytest.raises(ValueError, match=r"(9x2|2x9).*8x8.*scale_object"):
        paste_object(*make_scene(), patch, mask, 0, 0)


def test_paste_as_large_as_the_scene_fills_it() -> None:
    patch, mask = np.full((8, 8, 3), 7, np.uint8), np.ones((8, 8), bool)
    image, labels = paste_object(*make_scene(), patch, mask, 0, 0)
    assert (image == 7).all()
    assert (labels == OUTLIER).all()


def test_wrong_arrays_are_named() -> None:
    image, labels = make_scene()
    patch = make_patch()
    with pytest.raises(ValueError, match=r"mask.*\(3, 2\).*\(2, 3\)"):
        paste_object(image, labels, patch, MASK.T, 0, 0)
    with pytest.raises(ValueError, match=r"labels.*\(7, 8\).*\(8, 8\)"):
        paste_object(image, labels[1:], patch, MASK, 0, 0)
    with pytest.raises(ValueError, match=r"mask.*empty"):
        paste_object(image, labels, patch, np.zeros_like(MASK), 0, 0)
    with pytest.raises(ValueError, match=r"image.*\(H, W, 3\).*\(8, 8\)"):
        paste_object(image[..., 0], labels, patch, MASK, 0, 0)
    with pytest.raises(TypeError, match=r"mask.*bool.*uint8"):
        paste_object(image, labels, patch, MASK.astype(np.uint8), 0, 0)
    with pytest.raises(TypeError, match=r"patch.*image.*uint8.*float32"):
        paste_object(image.astype(np.float32), labels, patch, MASK, 0, 0)
    with pytest.raises(TypeError, match=r"labels.*float32"):
        paste_object(image, labels.astype(np.float32), patch, MASK, 0, 0)
    with pytest.raises(ValueError, match=r"labels.*int8.*outlier_index=254"):
        paste_object(image, np.zeros((8, 8), np.int8), patch, MASK, 0, 0)


def test_crop_is_the_bounding_box() -> None:
    image, _ = make_scene()
    mask = np.zeros((8, 8), bool)
    mask[2, 5] = mask[4, 3] = True
    cropped = crop_object(image, mask)
    np.testing.assert_array_equal(cropped.image, image[2:5, 3:6])
    np.testing.assert_array_equal(cropped.mask, mask[2:5, 3:6])


def test_flip_mirrors_image_and_mask() -> None:
    patch = make_patch()
    flipped = flip_object(patch, MASK & [[True, True, False]])
    np.testing.assert_array_equal(flipped.image[:, 0], patch[:, 2])
    np.testing.assert_array_equal(flipped.mask, [[False, True, False], [False, True, True]])


def test_resize_to_the_same_size_changes_nothing() -> None:
    patch = make_patch()
    resized = resize_object(patch, MASK, 2, 3)
    np.testing.assert_array_equal(resized.image, patch)
    np.testing.assert_array_equal(resized.mask, MASK)


def test_shrinking_averages_and_keeps_half_covered_pixels() -> None:
    patch = np.zeros((4, 4, 3), np.uint8)
    patch[:2, :2] = [[[10], [20]], [[30], [40]]]
    mask = np.zeros((4, 4), bool)
    mask[:2, 0] = True  # half of the first quarter
    mask[0, 2] = True  # a fourth of the second
    mask[2:, 2:] = True  # all of the last
    resized = resize_object(patch, mask, 2, 2)
    np.testing.assert_array_equal(resized.image[0, 0], [25, 25, 25])
    np.testing.assert_array_equal(resized.mask, [[True, False], [False, True]])


def test_growing_by_two_keeps_a_full_mask_full() -> None:
    resized = resize_object(make_patch(), np.ones((2, 3), bool), 4, 6)
    assert resized.image.shape == (4, 6, 3)
    assert resized.mask.all()


def test_the_mask_of_a_thin_object_is_never_empty() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 31] = True
    resized = resize_object(np.zeros((64, 64, 3), np.uint8), mask, 4, 4)
    assert resized.mask.any()
    with pytest.raises(ValueError, match=r"1x1.*0x3"):
        resize_object(np.zeros((64, 64, 3), np.uint8), mask, 0, 3)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    room=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    factor=st.floats(0.01, 3),
)
def test_scaled_objects_always_fit(
    height: int, width: int, room: tuple[int, int], factor: float
) -> None:
    patch, mask = np.zeros((height, width, 3), np.uint8), np.ones((height, width), bool)
    scaled = scale_object(patch, mask, factor, room)
    assert 1 <= scaled.mask.shape[0] <= room[0]
    assert 1 <= scaled.mask.shape[1] <= room[1]
    assert scaled.mask.any()


def test_scaling_uses_the_factor_unless_the_object_would_not_fit() -> None:
    patch, mask = np.zeros((10, 20, 3), np.uint8), np.ones((10, 20), bool)
    assert scale_object(patch, mask, 1.5, (100, 100)).mask.shape == (15, 30)
    assert scale_object(patch, mask, 1.5, (100, 10)).mask.shape == (5, 10)
    with pytest.raises(ValueError, match=r"factor.*0$"):
        scale_object(patch, mask, 0, (100, 100))


def test_positions_are_uniform_over_the_whole_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_position((4, 6), (3, 4), rng) for _ in range(3000)]
    places, counts = np.unique(drawn, axis=0, return_counts=True)
    assert places.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert counts.min() > 400  # expected 500, standard deviation 20
    assert random_position((3, 4), (3, 4), rng) == (0, 0)
    with pytest.raises(ValueError, match=r"4x4.*3x4"):
        random_position((3, 4), (4, 4), rng)


def test_positions_repeat_with_the_generator() -> None:
    first, second = (
        [random_position((100, 200), (10, 10), rng) for _ in range(5)]
        for rng in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert first == second
