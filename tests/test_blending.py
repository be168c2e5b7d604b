"""Soft edges, colour transfer, shadows and standing positions of pasted objects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ood_seg.pasting import (
    cloned_patch,
    distance_factor,
    feathered_patch,
    random_ground_row,
    recoloured_patch,
    shadowed_scene,
    standing_position,
)


def drawn(seed: int = 0, height: int = 60, width: int = 80) -> tuple[np.ndarray, ...]:
    """A scene of noise, an object of noise, and a round mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-10:11, -15:16]
    return (
        rng.integers(0, 256, (height, width, 3), np.uint8),
        rng.integers(0, 256, (21, 31, 3), np.uint8),
        (y / 10) ** 2 + (x / 15) ** 2 <= 1,
    )


def test_feathering_mixes_by_the_distance_to_the_edge():
    image, patch, mask = drawn()
    found = feathered_patch(image, patch, mask, 7, 9, 3.0)
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    for y, x in np.argwhere(mask)[::17]:
        distance = np.sqrt(((outside - (y, x)) ** 2).sum(axis=1)).min()
        share = min(distance / 4, 1)
        expected = share * patch[y, x] + (1 - share) * image[7 + y, 9 + x]
        np.testing.assert_allclose(found[y, x], expected, atol=1)


def test_no_feather_is_a_hard_edge_and_thin_objects_stay_visible():
    image, patch, mask = drawn()
    np.testing.assert_array_equal(feathered_patch(image, patch, mask, 0, 0, 0)[mask], patch[mask])
    line = np.zeros_like(mask)
    line[4] = True
    np.testing.assert_array_equal(feathered_patch(image, patch, line, 0, 0, 9)[line], patch[line])


@pytest.mark.parametrize("place", [(0, 0), (39, 49), (0, 49), (20, 25)])
def test_cloning_is_that_of_opencv_and_works_at_borders(place):
    image, patch, mask = drawn(height=60)
    smooth = cv2.GaussianBlur(image, (0, 0), 5)
    found = cloned_patch(smooth, patch, mask, *place)
    assert found is not None
    box = np.s_[place[0] : place[0] + 21, place[1] : place[1] + 31]
    edge = mask & ~cv2.erode(np.pad(mask, 1).astype(np.uint8), np.ones((3, 3)))[1:-1, 1:-1].astype(
        bool
    )
    # The edge continues the scene, the middle has the gradients of the object.
    assert np.abs(found[edge].astype(int) - smooth[box][edge]).mean() < 12
    assert found[6:15, 9:22].std() > 3 * smooth[box][6:15, 9:22].std()
    if place == (20, 25):
        source, region = np.zeros_like(image), np.zeros(image.shape[:2], np.uint8)
        source[box], region[box] = patch, mask * np.uint8(255)
        middle = (25 + 15, 20 + 10)
        whole = cv2.seamlessClone(source, smooth, region, middle, cv2.NORMAL_CLONE)
        np.testing.assert_allclose(found[mask].astype(int), whole[box][mask].astype(int), atol=2)


def test_what_cloning_would_erase_is_refused():
    image, patch, mask = drawn()
    assert cloned_patch(image, patch[:5, :5], mask[8:13, 10:15], 0, 0) is None


def test_recolouring_takes_mean_and_spread_of_the_surroundings():
    image, patch, mask = drawn()
    image = (image // 8 + 100).astype(np.uint8)
    np.testing.assert_allclose(
        recoloured_patch(image, patch, mask, 20, 20, 0.0)[mask].astype(int),
        patch[mask].astype(int),
        atol=1,
    )
    whole = recoloured_patch(image, patch, mask, 20, 20, 1.0)
    around = image[10:51, 5:66].astype(int)
    assert abs(whole[mask].mean() - around.mean()) < 4
    assert whole[mask].std() < patch[mask].std() * 0.6  # ratios are limited to a half
    half = recoloured_patch(image, patch, mask, 20, 20, 0.5)
    assert whole[mask].std() < half[mask].std() < patch[mask].std()


def test_a_shadow_is_darkest_below_the_middle_and_ends():
    image, _, mask = drawn()
    image[:] = 200
    shadowed = shadowed_scene(image, mask, 20, 20, 0.5)
    assert shadowed[40, 35, 0] == 100
    assert shadowed.min() == 100
    assert (shadowed[:30] == 200).all()
    assert (image == 200).all()
    below = shadowed[40, 35:, 0].astype(int)
    assert (np.diff(below) >= 0).all()
    assert below[-1] == 200


@pytest.mark.parametrize(
    "function",
    [lambda *a: feathered_patch(*a, 2.0), cloned_patch, lambda *a: recoloured_patch(*a, 1.0)],
)
def test_blending_refuses_floats_and_objects_that_cross_the_border(function):
    image, patch, mask = drawn()
    with pytest.raises(TypeError, match="uint8"):
        function(image.astype(np.float32), patch, mask, 0, 0)
    with pytest.raises(ValueError, match=r"top may be 0\.\.39"):
        function(image, patch, mask, 40, 0)


def test_objects_stand_with_their_whole_base_on_the_ground():
    ground = np.zeros((40, 50), bool)
    ground[25:, 10:30] = True
    mask = np.zeros((6, 9), bool)
    mask[:5, 2] = mask[4, 2:6] = True  # the last row is empty, the base four pixels wide
    expected = set()
    for top in range(35):
        for left in range(42):
            if ground[top + 4, left + 2 : left + 6].all():
                expected.add((top, left))
    rng = np.random.default_rng(0)
    found = {standing_position(ground, mask, rng) for _ in range(6000)}
    assert found == expected


def test_a_row_can_be_asked_for():
    ground = np.zeros((40, 50), bool)
    ground[25:, 10:30] = True
    rng = np.random.default_rng(0)
    mask = np.ones((6, 9), bool)
    assert {standing_position(ground, mask, rng, row=30)[0] for _ in range(9)} == {25}
    assert standing_position(ground, mask, rng, row=3) is None
    assert standing_position(ground, np.ones((6, 21), bool), rng) is None
    assert standing_position(ground, np.ones((41, 2), bool), rng) is None
    assert standing_position(np.ones((4, 4), bool), np.ones((4, 4), bool), rng) == (0, 0)


def test_size_falls_linearly_with_the_distance_from_the_horizon():
    ground = np.zeros((40, 50), bool)
    ground[20:, 10:30] = True
    rows = {random_ground_row(ground, np.random.default_rng(seed)) for seed in range(200)}
    assert rows == set(range(20, 40))
    assert random_ground_row(np.zeros_like(ground), np.random.default_rng(0)) is None
    assert distance_factor(ground, 39) == 1
    assert distance_factor(ground, 29) == 0.5
    assert distance_factor(ground, 20) == 0.05
