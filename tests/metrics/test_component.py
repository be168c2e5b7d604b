"""Component metrics against maps worked by hand and a slow reference written from the paper."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_seg.metrics.component import SIOU_THRESHOLDS, ComponentMetrics, component_metrics
from ood_seg.metrics.overlaps import MinimumSizes, match_components, overlaps

EVERYTHING = (1, 1)


def drawn(*rows: str) -> tuple[np.ndarray, np.ndarray]:
    """Mask and labels from a drawing: T truth, P predicted, B both, i ignored, x ignored and
    predicted, . neither."""
    cells = np.array([list(row) for row in rows])
    labels = np.isin(cells, ["T", "B"]).astype(np.uint8)
    labels[np.isin(cells, ["i", "x"])] = 255
    return np.isin(cells, ["P", "B", "x"]), labels


def matched(*rows: str, sizes=EVERYTHING):
    return match_components(*drawn(*rows), MinimumSizes(*sizes))


def without_empty(result: dict) -> dict:
    """A result without the rows by size that hold nothing: their NaN equals nothing."""
    return {**result, "by_size": [row for row in result["by_size"] if row["count"]]}


def flooded(pixels: set) -> list[set]:
    """Components of a set of pixels, each grown over the eight neighbours of its pixels."""
    left, components = set(pixels), []
    while left:
        waiting, component = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            component.add((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            waiting.extend(around)
        components.append(component)
    return components


def reference(mask: np.ndarray, labels: np.ndarray, sizes) -> tuple[list, list]:
    """sIoU of each true and PPV of each predicted component: Chan et al. 2021, set by set."""
    as_set = lambda array: set(map(tuple, np.argwhere(array).tolist()))  # noqa: E731
    truths = flooded(as_set(labels == 1))
    ignored = as_set(labels == 255).union(*(k for k in truths if len(k) < sizes[1]))
    truths = [k for k in truths if len(k) >= sizes[1]]
    predicted = flooded(as_set(mask) - as_set(labels == 255))
    predicted = [p - ignored for p in predicted if len(p) >= sizes[0] and p - ignored]
    siou = []
    for k in truths:
        touching = set().union(*(p for p in predicted if p & k))
        elsewhere = set().union(*(other for other in truths if other is not k))
        siou.append(len(k & touching) / len((k | touching) - (touching & elsewhere)))
    return siou, [len(p & set().union(*truths)) / len(p) for p in predicted]


def random_map(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels with blobs of every kind of overlap, a fifth of the maps with void."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 24, size=2)

    def blobs() -> np.ndarray:
        values = rng.normal(size=(height + 2, width + 2))
        return sum(values[y : y + height, x : x + width] for y in range(3) for x in range(3)) / 3

    truth = blobs()
    labels = (truth > rng.uniform(0, 1.5)).astype(np.uint8)
    labels[blobs() > rng.uniform(0.5, 3)] = 255
    return (blobs() + rng.uniform(0, 1.5) * truth).astype(np.float32), labels


class TestByHand:
    def test_one_of_each(self):
        # 4 true pixels, 3 found, 1 false: sIoU 3/5, PPV 3/4.
        siou, ppv = matched("TBB.", "..B.", "...P")[1:]
        assert (siou, ppv) == (3 / 5, 3 / 4)

    def test_one_prediction_over_two_anomalies(self):
        # |K| + false pixels: 2 + 1 for each; the other anomaly is adjusted for, not held against.
        siou, ppv = matched("BBPBB")[1:]
        assert siou.tolist() == [2 / 3, 2 / 3]
        assert ppv.tolist() == [4 / 5]

    def test_anomaly_split_in_two_predictions(self):
        siou, ppv = matched("BBTBBP")[1:]
        assert siou.tolist() == [4 / 6]
        assert sorted(ppv.tolist()) == [2 / 3, 1]

    def test_predictions_chained_over_anomalies(self):
        # Left anomaly: 1 of 2 found, first prediction adds 1 false. Right one: 2 of 3 found, both
        # predictions touch it, with 1 + 2 false pixels.
        areas, siou, ppv = matched("TBPBTBPP")
        assert dict(zip(areas.tolist(), siou.tolist(), strict=True)) == {2: 1 / 3, 3: 2 / 6}
        assert sorted(ppv.tolist()) == [1 / 3, 2 / 3]

    def test_corners_connect(self):
        areas, siou, ppv = matched("B.", ".B")
        assert (areas.tolist(), siou.tolist(), ppv.tolist()) == ([2], [1], [1])

    def test_missed_and_false(self):
        siou, ppv = matched("TT...PP")[1:]
        assert (siou.tolist(), ppv.tolist()) == ([0], [0])

    def test_ignored_pixels_leave_the_prediction(self):
        # The bar is cut in two by the void: one part hits, the other is a false alarm of its own.
        siou, ppv = matched("BBxxP")[1:]
        assert siou.tolist() == [1]
        assert sorted(ppv.tolist()) == [0, 1]

    def test_prediction_wholly_in_ignored_area(self):
        assert matched("xxx.T")[2].size == 0

    def test_minimum_size_is_of_what_lies_outside_ignored_areas(self):
        assert matched("PPxx", sizes=(3, 1))[2].size == 0
        assert matched("PPxx", sizes=(2, 1))[2].tolist() == [0]

    def test_small_prediction_is_taken_off(self):
        # Without the small component on the right, 2 of 4 true pixels are left.
        siou, ppv = matched("BBTB", sizes=(2, 1))[1:]
        assert (siou.tolist(), ppv.tolist()) == ([0.5], [1])

    def test_small_truth_is_ignored_with_the_prediction_on_it(self):
        areas, siou, ppv = matched("BP.BB", sizes=(1, 2))
        assert (areas.tolist(), siou.tolist()) == ([2], [1])
        assert sorted(ppv.tolist()) == [0, 1]
        assert matched("B...TT", sizes=(1, 2))[2].size == 0

    def test_small_truth_still_counts_for_the_size_of_a_prediction(self):
        # 3 pixels as drawn, 2 of them outside the small anomaly: kept, PPV of the remaining two.
        assert matched("PPB", sizes=(3, 2))[2].tolist() == [0]

    def test_size_at_the_minimum_counts(self):
        areas, siou, ppv = matched("BBB", sizes=(3, 3))
        assert (areas.size, siou.size, ppv.size) == (1, 1, 1)
        assert sum(part.size for part in matched("BBB", sizes=(4, 4))) == 0

    def test_counts_of_a_whole_image(self):
        # sIoU: 1, 2/4 and 0; PPV: 1, 2/3 and 0.
        mask, labels = drawn("BB...PBBT", ".........", "TT....PPP")
        result = component_metrics(mask, labels, threshold=None, track=EVERYTHING)
        assert result["siou"] == pytest.approx((1 + 0.5 + 0) / 3)
        assert result["ppv"] == pytest.approx((1 + 2 / 3 + 0) / 3)
        rows = [(row["tp"], row["fn"], row["fp"]) for row in result["by_threshold"]]
        # PPV 2/3 is enough up to 0.65, sIoU 1/2 up to 0.5.
        assert rows == [(2, 1, 1)] * 6 + [(1, 2, 1)] * 3 + [(1, 2, 2)] * 2
        assert result["by_threshold"][0]["f1"] == pytest.approx(4 / 6)
        f1 = 6 * 4 / 6 + 3 * 2 / 5 + 2 * 2 / 6
        assert result["mean_f1"] == pytest.approx(f1 / 11)

    def test_three_fifths_do_not_reach_the_published_0_6(self):
        mask, labels = drawn("BBBTT")
        row = component_metrics(mask, labels, threshold=None, track=EVERYTHING)["by_threshold"][7]
        assert (row["threshold"], row["tp"], SIOU_THRESHOLDS[7] > 0.6) == (0.6, 0, True)

    def test_table_by_size(self):
        labels = np.zeros((60, 60), np.uint8)
        labels[0, :9] = 1  # below 10: ignored
        labels[5, :10] = 1
        labels[10:20, :10] = 1
        labels[10:20, 20:29] = 1
        mask = np.zeros(labels.shape, bool)
        mask[10:20, :5] = True
        rows = component_metrics(mask, labels, threshold=None, track=(1, 10))["by_size"]
        assert rows[0] == {"min_area": 10, "max_area": 100, "count": 2, "siou": 0, "found": 0}
        assert rows[1] == {"min_area": 100, "max_area": 1000, "count": 1, "siou": 0.5, "found": 1}
        assert rows[3]["max_area"] is None
        assert (rows[3]["count"], math.isnan(rows[3]["siou"])) == (0, True)

    def test_sizes_of_the_tracks(self):
        def square(area: int) -> np.ndarray:
            cells = np.zeros(10_000, np.uint8)
            cells[:area] = 1
            return cells.reshape(100, 100)

        for track, predicted, truth in (("anomaly", 500, 100), ("obstacle", 50, 10)):
            for area in (predicted - 1, predicted):
                metrics = ComponentMetrics(threshold=None, track=track)
                metrics.update(square(area).astype(bool), square(truth))
                assert metrics.compute()["siou"] == (0 if area < predicted else truth / predicted)
            metrics = ComponentMetrics(threshold=None, track=track)
            metrics.update(square(predicted).astype(bool), square(truth - 1))
            with pytest.warns(UserWarning, match=f"at least {truth} pixels"):
                assert math.isnan(metrics.compute()["siou"])


class TestReference:
    @pytest.mark.parametrize("seed", range(60))
    def test_equals_reference(self, seed):
        scores, labels = random_map(seed)
        rng = np.random.default_rng(seed)
        sizes = (int(rng.integers(0, 12)), int(rng.integers(0, 8)))
        mask = scores > 0.5
        siou, ppv = reference(mask, labels, sizes)
        result = match_components(mask, labels, MinimumSizes(*sizes))
        assert sorted(result.siou) == pytest.approx(sorted(siou), abs=1e-12)
        assert sorted(result.ppv) == pytest.approx(sorted(ppv), abs=1e-12)

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_equals_reference_on_anything(self, data):
        width = data.draw(st.integers(1, 7))
        rows = data.draw(
            st.lists(st.text("TPBix..", min_size=width, max_size=width), min_size=1, max_size=7)
        )
        sizes = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
        siou, ppv = reference(*drawn(*rows), sizes)
        result = matched(*rows, sizes=sizes)
        assert sorted(result.siou) == pytest.approx(sorted(siou), abs=1e-12)
        assert sorted(result.ppv) == pytest.approx(sorted(ppv), abs=1e-12)

    def test_counts_equal_reference_over_images(self):
        maps = [random_map(seed) for seed in range(20)]
        siou, ppv = [], []
        for scores, labels in maps:
            parts = reference(scores > 0.3, labels, (3, 2))
            siou, ppv = siou + parts[0], ppv + parts[1]
        scores, labels = zip(*maps, strict=True)
        result = component_metrics(scores, labels, threshold=0.3, track=(3, 2))
        assert result["siou"] == pytest.approx(np.mean(siou))
        assert result["ppv"] == pytest.approx(np.mean(ppv))
        f1 = []
        for row, threshold in zip(result["by_threshold"], SIOU_THRESHOLDS, strict=True):
            tp = sum(value >= threshold for value in siou)
            fn, fp = len(siou) - tp, sum(value < threshold for value in ppv)
            assert (row["tp"], row["fn"], row["fp"]) == (tp, fn, fp)
            f1.append(2 * tp / (2 * tp + fn + fp))
            assert row["f1"] == pytest.approx(f1[-1])
        assert result["mean_f1"] == pytest.approx(np.mean(f1))
        assert sum(row["count"] for row in result["by_size"]) == len(siou)
        assert sum(row["found"] for row in result["by_size"]) == result["by_threshold"][0]["tp"]

    def test_a_hundred_thousand_components(self):
        scores = np.random.default_rng(0).normal(size=(1024, 2048)).astype(np.float32)
        labels = np.zeros(scores.shape, np.uint8)
        labels[::100, ::50] = 1
        truth = labels.astype(np.int32)
        truth[labels == 1] = np.arange(1, labels.sum() + 1)
        result = match_components(scores > 1.4, labels, MinimumSizes(1, 1))
        assert result.ppv.size > 100_000
        # Each truth is one pixel here, so those that are hit are the predicted pixels on them.
        assert (result.siou > 0).sum() == ((scores > 1.4) & (labels == 1)).sum()
        assert overlaps(truth, truth)[2].tolist() == [1] * int(labels.sum())


class TestInvariance:
    def test_order_merge_and_flips(self):
        maps = [random_map(seed) for seed in range(9)]

        def result(parts, flip=()) -> dict:
            total = ComponentMetrics(threshold=0.4, track=(3, 2))
            for part in parts:
                metrics = ComponentMetrics(threshold=0.4, track=(3, 2))
                for index in part:
                    metrics.update(*(np.flip(array, flip) for array in maps[index]))
                total.merge(metrics)
            return total.compute()

        # Never merged, unlike all others.
        expected = component_metrics(*zip(*maps, strict=True), threshold=0.4, track=(3, 2))
        for parts in ([range(9)], [reversed(range(9))], [[0, 4], [], [8, 7, 1, 2], [3, 5, 6]]):
            other = result(parts)
            assert other["by_threshold"] == expected["by_threshold"]
            assert other["siou"] == pytest.approx(expected["siou"], abs=1e-12)
            assert other["ppv"] == pytest.approx(expected["ppv"], abs=1e-12)
        for flip in (0, 1, (0, 1)):
            assert result([range(9)], flip)["by_threshold"] == expected["by_threshold"]

    def test_shifted_scores_and_threshold(self):
        scores, labels = random_map(3)
        scores = (scores * 8).round() / 8
        expected = component_metrics(scores, labels, threshold=0.25, track=EVERYTHING)
        shifted = component_metrics(scores - 100, labels, threshold=-99.75, track=EVERYTHING)
        assert without_empty(shifted) == without_empty(expected)

    def test_inputs_unchanged_and_tensors_accepted(self):
        scores, labels = random_map(2)
        before = scores.copy(), labels.copy()
        expected = component_metrics(scores, labels, threshold=0.4, track=EVERYTHING)
        assert (scores == before[0]).all()
        assert (labels == before[1]).all()
        tensors = torch.from_numpy(scores)[None], torch.from_numpy(labels)[None]
        of_tensors = component_metrics(*tensors, threshold=0.4, track=EVERYTHING)
        of_mask = component_metrics(scores > 0.4, labels, threshold=None, track=EVERYTHING)
        assert without_empty(of_tensors) == without_empty(of_mask) == without_empty(expected)

    def test_threshold_is_exclusive_and_exact(self):
        score = np.float32(0.1)  # a little above 0.1 itself
        scores, labels = np.full((3, 3), score), np.ones((3, 3), np.uint8)
        found = lambda t: component_metrics(scores, labels, threshold=t, track=EVERYTHING)  # noqa: E731
        assert found(0.1)["siou"] == 1
        assert found(float(score))["siou"] == 0
        assert found(np.nextafter(float(score), -np.inf))["siou"] == 1


class TestLimits:
    def test_perfect(self):
        mask, labels = drawn("BB..B", ".....", "B.iB.")
        result = component_metrics(mask, labels, threshold=None, track=EVERYTHING)
        assert (result["siou"], result["ppv"], result["mean_f1"]) == (1, 1, 1)

    def test_empty_prediction(self):
        mask, labels = drawn("TT..T")
        result = component_metrics(mask, labels, threshold=None, track=EVERYTHING)
        assert (result["siou"], result["mean_f1"], math.isnan(result["ppv"])) == (0, 0, True)
        assert result["by_threshold"][0]["fn"] == 2

    def test_empty_ground_truth(self):
        mask, labels = drawn("PP..P")
        with pytest.warns(UserWarning, match="no true component"):
            result = component_metrics(mask, labels, threshold=None, track=EVERYTHING)
        assert math.isnan(result["siou"])
        assert (result["ppv"], result["mean_f1"], result["by_threshold"][0]["fp"]) == (0, 0, 2)

    def test_nothing_at_all(self):
        mask, labels = drawn("..i")
        with pytest.warns(UserWarning, match="no true component"):
            result = component_metrics(mask, labels, threshold=None)
        assert all(math.isnan(result[name]) for name in ("siou", "ppv", "mean_f1"))
        assert result["track"] == "anomaly"

    def test_compute_may_be_called_again(self):
        metrics = ComponentMetrics(threshold=None, track=EVERYTHING)
        metrics.update(*drawn("BB"))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert metrics.compute()["siou"] == metrics.compute()["siou"] == 1
        metrics.update(*drawn("TT"))
        assert metrics.compute()["siou"] == 0.5


class TestBadInput:
    def test_settings(self):
        with pytest.raises(ValueError, match=r"no track 'road'; available: 'anomaly', 'obstacle'"):
            ComponentMetrics(threshold=0.5, track="road")
        with pytest.raises(ValueError, match="must not be negative"):
            ComponentMetrics(threshold=0.5, track=(5, -1))
        with pytest.raises(ValueError, match="threshold must be a number, got NaN"):
            ComponentMetrics(threshold=float("nan"))

    @pytest.mark.parametrize(
        ("scores", "labels", "message"),
        [
            (np.zeros((2, 3)), np.zeros((3, 2)), r"one shape, got \(2, 3\) and \(3, 2\)"),
            (np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), r"one image of shape \(H, W\)"),
            (np.full((2, 2), np.nan), np.zeros((2, 2)), "4 NaN"),
            (np.zeros((2, 2)), np.full((2, 2), 7), r"7 \(4 pixels\)"),
        ],
    )
    def test_maps(self, scores, labels, message):
        with pytest.raises(ValueError, match=message):
            ComponentMetrics(threshold=0.5).update(scores, labels)

    def test_scores_without_threshold(self):
        with pytest.raises(ValueError, match="scores need a threshold"):
            ComponentMetrics(threshold=None).update(np.zeros((2, 2)), np.zeros((2, 2)))

    def test_as_many_maps_as_labels(self):
        with pytest.raises(ValueError, match="got 2 score maps but 1 label maps"):
            component_metrics(np.zeros((2, 3, 3)), np.zeros((1, 3, 3)), threshold=0)

    def test_merge(self):
        metrics = ComponentMetrics(threshold=0.5)
        with pytest.raises(TypeError, match="expects a ComponentMetrics, got dict"):
            metrics.merge({})
        with pytest.raises(ValueError, match=r"same threshold can be merged, got 0.5 and 0.25"):
            metrics.merge(ComponentMetrics(threshold=0.25))
        with pytest.raises(ValueError, match="same sizes"):
            metrics.merge(ComponentMetrics(threshold=0.5, track="obstacle"))


def test_components_may_be_given_by_their_numbers():
    mask, labels = drawn("BBPPP.TT", "BB.PPx..", "..i...P.")
    whole = match_components(mask, labels, MinimumSizes(*EVERYTHING))
    numbers = np.where(mask, 1, 0)
    numbers[2, 6] = 2
    same = match_components(numbers, labels, MinimumSizes(*EVERYTHING))
    for one, other in zip(whole, same, strict=True):
        np.testing.assert_array_equal(one, other)
    # In two parts, the object has a component of its own; a number without pixels is none.
    numbers[:, 2:6] *= 4
    parts = match_components(numbers, labels, MinimumSizes(*EVERYTHING))
    assert parts.siou[0] == 1
    assert sorted(parts.ppv.tolist()) == [0, 0, 1]
