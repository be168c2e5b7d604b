"""Options of `PasteOutliers`: placement, size, edges, colours, and what happens without ground."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("mmseg")

from ood_seg.datasets import PasteOutliers
from ood_seg.labels import OUTLIER
from ood_seg.pasting import (
    OutlierObject,
    flip_object,
    paste_object,
    random_position,
    scale_object,
)

HEIGHT, WIDTH = 96, 160
ROAD, SIDEWALK = 0, 1


class DrawnObjects:
    """Objects of 12x20 pixels in noise around 220, with two empty corners."""

    def __len__(self):
        return 5

    def sample(self, rng):
        mask = np.ones((12, 20), bool)
        mask[0, :4] = mask[-1, :2] = False
        return OutlierObject(rng.integers(200, 240, (12, 20, 3), np.uint8), mask)


def scene(**more):
    """Sky, a sidewalk on the left and a road that becomes wider downwards."""
    labels = np.full((HEIGHT, WIDTH), 10, np.uint8)
    labels[40:, :40] = SIDEWALK
    for row in range(40, HEIGHT):
        labels[row, max(40, 90 - row) : 100 + (row - 40)] = ROAD
    image = np.full((HEIGHT, WIDTH, 3), 60, np.uint8) + labels[..., None] * 4
    return {"img": image, "gt_seg_map": labels, **more}


def pasted(transform, repeats=40):
    """Masks of the pasted pixels and images of several scenes."""
    np.random.seed(1)
    results = [transform(scene()) for _ in range(repeats)]
    return [(one["gt_seg_map"] == OUTLIER, one["img"]) for one in results]


def base_of(mask):
    row = np.flatnonzero(mask.any(axis=1))[-1]
    return row, np.flatnonzero(mask[row])


@pytest.mark.parametrize("size", [None, (10, 40)])
def test_without_options_scenes_are_those_of_earlier_versions(size):
    """The draws and their order, as they have always been."""
    np.random.seed(4)
    found = [PasteOutliers(DrawnObjects(), size_range=size)(scene()) for _ in range(6)]
    np.random.seed(4)
    for one in found:
        rng = np.random.default_rng(np.random.randint(0, 2**32, size=4, dtype=np.uint32))
        assert rng.random() < 1
        image, labels = scene()["img"], scene()["gt_seg_map"]
        for _ in range(rng.integers(1, 2, endpoint=True)):
            patch, mask = DrawnObjects().sample(rng)
            if rng.random() < 0.5:
                patch, mask = flip_object(patch, mask)
            factor = 1.0 if size is None else np.exp(rng.uniform(*np.log(size))) / 20
            patch, mask = scale_object(patch, mask, float(factor), labels.shape)
            top, left = random_position(labels.shape, mask.shape, rng)
            image, labels = paste_object(image, labels, patch, mask, top, left)
        np.testing.assert_array_equal(one["img"], image)
        np.testing.assert_array_equal(one["gt_seg_map"], labels)


@pytest.mark.parametrize(
    ("placement", "values"),
    [("road", {ROAD}), (["sidewalk"], {SIDEWALK}), (("road", 1), {ROAD, SIDEWALK}), (0, {ROAD})],
)
def test_the_whole_base_stands_on_the_classes(placement, values):
    transform = PasteOutliers(DrawnObjects(), count=1, placement=placement, size_range=(6, 40))
    labels = scene()["gt_seg_map"]
    found = set()
    for mask, _ in pasted(transform):
        row, columns = base_of(mask)
        found |= set(labels[row, columns[0] : columns[-1] + 1].tolist())
    assert found == values
    assert not transform.fallbacks


def test_without_ground_objects_go_anywhere_which_is_counted_and_logged_once(caplog):
    transform = PasteOutliers(DrawnObjects(), count=2, placement="train", size_range=(6, 40))
    with caplog.at_level("WARNING"):
        for mask, _ in pasted(transform, repeats=5):
            assert mask.any()
    assert list(transform.fallbacks.values()) == [10]
    assert sum("no place to stand" in record.message for record in caplog.records) <= 1


def test_seeded_scenes_stay_fixed_with_all_options():
    transform = PasteOutliers(
        DrawnObjects(),
        seed=3,
        placement="road",
        size_by_distance=(0.1, 0.4),
        edges=("hard", "feathered", "poisson"),
        colour_transfer=0.5,
        shadow=0.4,
    )
    first, again, other = (transform(scene(sample_idx=index)) for index in (0, 0, 1))
    np.testing.assert_array_equal(first["img"], again["img"])
    assert not np.array_equal(first["img"], other["img"])


def longer_sides(transform, repeats=150):
    return [
        max(np.ptp(np.flatnonzero(mask.any(0))), np.ptp(np.flatnonzero(mask.any(1)))) + 1
        for mask, _ in pasted(transform, repeats)
    ]


def test_share_of_the_short_side_is_log_uniform_and_ranges_mix():
    sides = longer_sides(PasteOutliers(DrawnObjects(), count=1, size_share=(0.1, 0.4)))
    assert 9 <= min(sides) <= 11
    assert 35 <= max(sides) <= 39
    assert 17 <= np.median(sides) <= 21  # uniform shares would have 24
    mixed = longer_sides(
        PasteOutliers(DrawnObjects(), count=1, size_share=[[0.1, 0.1], [0.5, 0.5]])
    )
    counts = Counter("small" if side < 20 else "large" for side in mixed)
    assert 50 <= counts["small"] <= 100


def test_size_by_distance_shrinks_towards_the_horizon():
    transform = PasteOutliers(
        DrawnObjects(), count=1, size_by_distance=(0.4, 0.4), placement="road"
    )
    for mask, _ in pasted(transform, 60):
        row, _ = base_of(mask)
        width = np.ptp(np.flatnonzero(mask.any(0))) + 1
        expected = 0.4 * HEIGHT * (row - 39) / (HEIGHT - 40)
        if not transform.fallbacks:
            assert abs(width - expected) <= 1
    with pytest.raises(ValueError, match="placement"):
        PasteOutliers(DrawnObjects(), size_by_distance=(0.1, 0.2))


@pytest.mark.parametrize("edges", ["feathered", "poisson"])
@pytest.mark.parametrize("colour_transfer", [0.0, 0.7])
def test_blending_changes_no_pixel_and_no_label_outside_the_objects(edges, colour_transfer):
    transform = PasteOutliers(
        DrawnObjects(), count=3, edges=edges, colour_transfer=colour_transfer, size_range=(3, 60)
    )
    before = scene()
    for mask, image in pasted(transform, 15):
        assert mask.any()
        np.testing.assert_array_equal(image[~mask], before["img"][~mask])
    assert set(transform.fallbacks) <= {"too thin for edges='poisson', feathered"}
    assert bool(transform.fallbacks) == (edges == "poisson")


def test_a_shadow_changes_pixels_but_no_labels():
    transform = PasteOutliers(DrawnObjects(), count=1, shadow=0.6, placement="road")
    before = scene()
    np.random.seed(0)
    after = transform(scene())
    outside = after["gt_seg_map"] != OUTLIER
    assert (after["img"][outside] < before["img"][outside]).any()
    assert (after["img"][outside] <= before["img"][outside]).all()
    np.testing.assert_array_equal(after["gt_seg_map"][outside], before["gt_seg_map"][outside])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"placement": "raod"}, "'raod'.*'road'"),
        ({"placement": []}, "placement"),
        ({"placement": 254}, "254"),
        ({"edges": "feathred"}, "'feathred'.*'feathered'"),
        ({"edges": ()}, "edges"),
        ({"feather": -1}, "feather.*-1"),
        ({"shadow": 2}, "shadow.*2"),
        ({"colour_transfer": -0.5}, r"colour_transfer.*-0\.5"),
        ({"size_share": (0.5, 0.1)}, "size_share"),
        ({"size_share": []}, "size_share"),
        ({"size_share": [(0.1, 0.2), (0, 1)]}, r"size_share.*\(0, 1\)"),
        ({"size_share": (0.1, 0.2), "size_range": (3, 4)}, "size_share"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PasteOutliers(DrawnObjects(), **arguments)


@pytest.mark.parametrize("source", ["coco", {"type": "PackSegInputs"}, 3])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(ValueError, match="outlier source"):
        PasteOutliers(source)


def test_objects_larger_than_the_scene_and_as_large_as_it():
    class Huge(DrawnObjects):
        def sample(self, rng):
            return OutlierObject(
                *(np.kron(a, block) for a, block in zip(drawn, blocks, strict=True))
            )

    drawn = DrawnObjects().sample(np.random.default_rng(0))
    blocks = np.ones((40, 40, 1), np.uint8), np.ones((40, 40), bool)
    huge = Huge()
    for edges in ("hard", "feathered", "poisson"):
        transform = PasteOutliers(huge, count=1, edges=edges, colour_transfer=1.0, shadow=1.0)
        for found, _ in pasted(transform, 2):
            assert found.any(axis=1).sum() >= 90
