"""The pixel sample against a plain reimplementation; its invariances."""

import itertools

import numpy as np
import pytest
import torch
from process_group import process_group, run_on_ranks

from ood_seg.detectors.reservoir import PixelReservoir, labels_at, pooled_to
from ood_seg.labels import IGNORE, OUTLIER


def stream(images=7, seed=0):
    """Images whose features are the indices of image and pixel, and their labels."""
    generator = np.random.default_rng(seed)
    labels = torch.from_numpy(generator.choice([0, 1, 2, OUTLIER, IGNORE], (images, 5, 6)))
    place = torch.arange(30.0).view(1, 5, 6).expand(images, 5, 6)
    image = torch.arange(float(images)).view(-1, 1, 1).expand(images, 5, 6)
    return torch.stack([image, place], dim=1), labels


def fed(reservoir, features, labels, cuts=()):
    bounds = [0, *cuts, len(labels)]
    for low, high in itertools.pairwise(bounds):
        reservoir.update(features[low:high], labels[low:high])
    return reservoir


def test_sample_is_that_of_the_smallest_keys():
    features, labels = stream()
    found = fed(PixelReservoir(12, seed=4), features, labels)
    listed = []
    for image in range(7):
        keys = np.random.default_rng((4, image)).random(30)
        for place in range(30):
            label = int(labels[image].flatten()[place])
            if label < 3:
                listed.append((keys[place], image, place, label))
    listed = sorted(listed)[:12]
    assert found.rows.tolist() == [[image, place] for _, image, place, _ in listed]
    assert found.labels.tolist() == [label for *_, label in listed]
    assert found.seen == int((labels < 3).sum())


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("cuts", [(1, 2, 3, 4, 5, 6), (3,), (2, 6)])
def test_division_into_batches_changes_nothing(cuts, classes):
    features, labels = stream()
    whole = fed(PixelReservoir(12, num_classes=classes), features, labels)
    parts = fed(PixelReservoir(12, num_classes=classes), features, labels, cuts)
    assert torch.equal(whole.rows, parts.rows)
    assert torch.equal(whole.labels, parts.labels)


def test_seed_changes_the_sample():
    one, other = (fed(PixelReservoir(12, seed), *stream()) for seed in (0, 1))
    assert not torch.equal(one.rows, other.rows)


def test_all_pixels_within_the_capacity_are_kept():
    features, labels = stream()
    found = fed(PixelReservoir(1000), features, labels)
    known = features.movedim(1, -1)[labels < 3]
    assert sorted(found.rows.tolist()) == sorted(known.tolist())


def test_sample_is_uniform():
    """Of 40 images with different numbers of known pixels, each has its share (chi-squared)."""
    features, _ = stream(40)
    labels = torch.zeros(40, 5, 6, dtype=torch.long)
    labels[::2, :, 3:] = IGNORE
    counts = torch.zeros(40)
    for seed in range(40):
        rows = fed(PixelReservoir(90, seed), features, labels).rows
        counts += torch.bincount(rows[:, 0].long(), minlength=40)
    expected = torch.where(torch.arange(40) % 2 == 0, 80.0, 160.0) * 90 * 40 / (20 * 240) / 40 * 2
    expected *= counts.sum() / expected.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 75  # 99.95 % of 39 degrees of freedom


def test_balanced_over_classes():
    features, labels = stream()
    labels[labels == 1] = 0
    labels[0, 0, :2] = 1
    found = fed(PixelReservoir(15, num_classes=3), features, labels)
    assert torch.bincount(found.labels, minlength=3).tolist() == [5, 2, 5]


def test_balanced_sample_of_a_class_that_never_occurs():
    features, labels = stream()
    found = fed(PixelReservoir(20, num_classes=4), features, labels)
    assert torch.bincount(found.labels, minlength=4).tolist() == [5, 5, 5, 0]


def test_only_outliers():
    features, labels = stream()
    found = fed(PixelReservoir(1000, outliers=True), features, labels)
    assert len(found) == int((labels == OUTLIER).sum())
    assert set(found.labels.tolist()) == {OUTLIER}


def test_maps_of_two_sizes_are_read_at_the_same_position():
    fine = torch.arange(48.0).view(1, 1, 6, 8)
    coarse = torch.arange(12.0).view(1, 1, 3, 4)
    found = PixelReservoir(100)
    found.update([fine, coarse], torch.zeros(1, 6, 8, dtype=torch.long))
    for place, cell in found.rows.tolist():
        assert cell == (place // 8 // 2) * 4 + place % 8 // 2
    found = PixelReservoir(100)
    found.update([coarse, fine], torch.zeros(1, 6, 8, dtype=torch.long))
    assert len(found) == 12
    down, right = found.rows[:, 1] // 8, found.rows[:, 1] % 8
    assert torch.equal(down // 2 * 4 + right // 2, found.rows[:, 0])


def test_image_level_rows_and_pooled_layers():
    features = torch.randn(6, 4, 3, 3)
    labels = torch.tensor([0, 1, 255, 254, 1, 0])
    found = PixelReservoir(10)
    found.update([features, features.mean((2, 3))], labels)
    expected = features[[0, 1, 4, 5]].mean((2, 3))
    assert torch.allclose(
        torch.tensor(sorted(found.rows[:, :4].tolist())), torch.tensor(sorted(expected.tolist()))
    )
    assert torch.allclose(found.rows[:, :4], found.rows[:, 4:])
    assert pooled_to(features, 2) is features


def test_half_precision_is_kept_in_float32():
    found = PixelReservoir(4)
    found.update(torch.ones(1, 2, 2, 2).half(), torch.zeros(1, 2, 2, dtype=torch.uint8))
    assert found.rows.dtype == torch.float32


def test_labels_on_another_grid():
    labels = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 255], [2, 2, 254, 254], [2, 2, 254, 254]]])
    assert labels_at(labels, (4, 4)) is labels
    coarse = labels_at(labels.to(torch.uint8), (2, 2))
    assert coarse.dtype == torch.uint8
    assert coarse.tolist() in ([[[0, 1], [2, 254]]], [[[0, 255], [2, 254]]])
    assert labels_at(coarse, (4, 4))[0, 3, 3] == 254


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capacity": 0}, r"capacity.*\b1\b.*\b0\b"),
        ({"capacity": 3, "num_classes": 4}, r"capacity.*\b4\b.*\b3\b"),
        ({"capacity": 3, "num_classes": 2, "outliers": True}, "outliers.*classes"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelReservoir(**arguments)


def test_bad_batches():
    found = PixelReservoir(10, num_classes=2)
    with pytest.raises(ValueError, match=r"maps and labels.*\[1, 2\]"):
        found.update(torch.zeros(2, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 4\)"):
        found.update(torch.zeros(2, 3), torch.zeros(2, 4, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels.*0\.\.1.*0\.\.2"):
        found.update(torch.zeros(1, 3, 1, 2), torch.tensor([[[0, 2]]]))
    with pytest.raises(ValueError, match=r"kNN.*\b3\b.*known pixels.*\b0\b"):
        found.require(3, "kNN")
    found.update(torch.full((1, 3, 1, 2), torch.inf), torch.tensor([[[0, 1]]]))
    with pytest.raises(ValueError, match=r"kNN.*infinite or NaN"):
        found.require(1, "kNN")
    with pytest.raises(ValueError, match=r"\b3\b channels.*\b2\b"):
        found.update(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]]))


def _rank(rank, ranks, path):
    with process_group(rank, ranks, path):
        features, labels = stream()
        for classes in (None, 3):
            found = PixelReservoir(12, seed=3, num_classes=classes)
            found.update(features[rank::ranks], labels[rank::ranks])
            found.reduce()
            torch.save((found.rows, found.labels, found.seen), f"{path}/{rank}{classes}.pt")


def test_sample_of_two_processes_equals_that_of_one(tmp_path):
    run_on_ranks(_rank, 2, str(tmp_path))
    for classes in (None, 3):
        single = fed(PixelReservoir(12, seed=3, num_classes=classes), *stream())
        for rank in range(2):
            rows, labels, seen = torch.load(tmp_path / f"{rank}{classes}.pt", weights_only=True)
            assert torch.equal(rows, single.rows)
            assert torch.equal(labels, single.labels)
            assert seen == single.seen


@pytest.mark.parametrize(("side", "places"), [(6, [1, 4]), (5, [1, 3]), (1, [0, 0])])
def test_other_maps_are_read_under_the_centres_of_the_first(side, places):
    numbers = torch.arange(side * side, dtype=torch.float32).view(1, 1, side, side)
    sample = PixelReservoir(10)
    sample.update([torch.arange(4.0).view(1, 1, 2, 2), numbers], torch.zeros(1, 2, 2).long())
    found = sample.rows[sample.rows[:, 0].argsort(), 1]
    assert found.tolist() == [down * side + right for down in places for right in places]


@pytest.mark.parametrize("classes", [None, 3])
def test_image_level_rows_in_any_batches(classes):
    labels = torch.arange(2600) % 3
    rows = torch.arange(2600.0)[:, None]
    keys = np.concatenate([np.random.default_rng((5, block)).random(1024) for block in range(3)])[
        :2600
    ]
    share = 300 if classes is None else 100
    kept = [
        part[np.argsort(keys[part])[:share]]
        for part in (
            [np.arange(2600)] if classes is None else [np.arange(c, 2600, 3) for c in range(3)]
        )
    ]
    expected = sorted(np.concatenate(kept).tolist(), key=lambda row: keys[row])
    for size in (1, 700, 2600):
        reservoir = PixelReservoir(300, 5, num_classes=classes)
        fed(reservoir, rows, labels, range(size, 2600, size))
        assert reservoir.rows[:, 0].tolist() == expected
        assert reservoir.labels.tolist() == [row % 3 for row in expected]
        assert (reservoir.seen, len(reservoir)) == (2600, 300)
