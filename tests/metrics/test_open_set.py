"""Open-set mIoU against cases worked by hand and a slow reference written from the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, roc_curve

from ood_seg.metrics.open_set import OpenSetMetrics, class_ious, rejection_threshold

OUTLIER, IGNORE = 254, 255


def open_set(classes, scores, labels, num_classes=2, threshold=0.5) -> dict[str, float]:
    metrics = OpenSetMetrics(num_classes, threshold=threshold)
    metrics.update(np.array(classes), np.array(scores, float), np.array(labels))
    return metrics.compute()


def random_pixels(seed: int, num_classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (2, 30, 20)
    labels = rng.choice([*range(num_classes), OUTLIER, IGNORE], size=shape).astype(np.uint8)
    classes = np.where(rng.random(shape) < 0.6, labels, rng.integers(0, num_classes, shape))
    classes = classes.clip(max=num_classes - 1)
    return classes, rng.normal(size=shape) + (labels == OUTLIER), labels


class TestByHand:
    CLASSES = (0, 0, 0, 1, 1, 1, 0, 1)
    LABELS = (0, 0, 1, 1, 1, 0, OUTLIER, OUTLIER)

    def test_nothing_rejected(self):
        # Class 0: 2 right, 1 missed, 1 wrong. Class 1 likewise. An accepted anomaly each on top.
        result = open_set(self.CLASSES, [0] * 8, self.LABELS)
        assert result == pytest.approx({"miou": 2 / 4, "open_iou": 2 / 5})

    def test_rejecting_right_and_wrong(self):
        # Rejected: the anomaly called 0 and one right pixel of class 1.
        # Class 0: 2 / (2 + 1 + 1). Class 1: 1 / (1 + 1 wrong + 1 anomaly + 1 missed + 1 rejected).
        result = open_set(self.CLASSES, [0, 0, 0, 1, 0, 0, 1, 0], self.LABELS)
        assert result == pytest.approx({"miou": 2 / 4, "open_iou": (2 / 4 + 1 / 5) / 2})

    def test_perfect(self):
        assert open_set([0, 1, 1], [0, 0, 1], [0, 1, OUTLIER]) == {"miou": 1, "open_iou": 1}

    def test_all_rejected(self):
        assert open_set([0, 1], [1, 1], [0, 1]) == {"miou": 1, "open_iou": 0}

    def test_a_wrong_pixel_that_is_rejected_only_counts_as_missed(self):
        # Class 1 loses a false positive: 1 / 1 instead of 1 / 2.
        result = open_set([1, 1, 0], [1, 0, 0], [0, 1, 0])
        assert result == pytest.approx({"miou": 1 / 2, "open_iou": (1 / 2 + 1) / 2})

    def test_threshold_is_exclusive_and_exact(self):
        assert open_set([0], [0.5], [0])["open_iou"] == 1
        metrics = OpenSetMetrics(1, threshold=0.1)
        # A little above 0.1 itself.
        metrics.update(np.zeros(1, int), np.array([0.1], np.float32), np.zeros(1, int))
        assert metrics.compute()["open_iou"] == 0

    def test_ignored_pixels(self):
        with_void = open_set([0, 1, 1, 0], [0, 0, 9, 0], [0, 1, IGNORE, IGNORE])
        assert with_void == {"miou": 1, "open_iou": 1}

    def test_absent_class_is_left_out(self):
        assert open_set([0, 0], [0, 0], [0, 0], num_classes=3) == {"miou": 1, "open_iou": 1}
        # Class 1 occurs only as the name of an accepted anomaly: 0 in the open set alone.
        assert open_set([0, 1], [0, 0], [0, OUTLIER]) == {"miou": 1, "open_iou": 0.5}

    def test_no_known_pixel(self):
        assert all(map(math.isnan, open_set([0], [1], [OUTLIER]).values()))
        assert all(map(math.isnan, OpenSetMetrics(2, threshold=0).compute().values()))


class TestReference:
    @pytest.mark.parametrize("seed", range(6))
    def test_equals_sets_of_the_paper(self, seed):
        classes, scores, labels = random_pixels(seed)
        decision = np.where(scores > 0.8, 4, classes)
        values = []
        for k in range(4):
            tp = fp = fn = 0
            for pixel in np.ndindex(labels.shape):
                if labels[pixel] == IGNORE:
                    continue
                called, true = decision[pixel] == k, labels[pixel] == k
                tp, fp, fn = tp + (called & true), fp + (called & ~true), fn + (~called & true)
            values.append(tp / (tp + fp + fn))
        result = open_set(classes, scores, labels, num_classes=4, threshold=0.8)
        assert result["open_iou"] == pytest.approx(np.mean(values), abs=1e-12)

    @pytest.mark.parametrize("seed", range(3))
    def test_miou_equals_sklearn(self, seed):
        classes, scores, labels = random_pixels(seed)
        known = labels < 4
        expected = jaccard_score(labels[known], classes[known], average="macro")
        result = open_set(classes, scores, labels, num_classes=4)
        assert result["miou"] == pytest.approx(expected, abs=1e-12)

    def test_without_anomalies_and_rejection_both_agree(self):
        classes, scores, labels = random_pixels(0)
        labels[labels == OUTLIER] = IGNORE
        result = open_set(classes, scores, labels, num_classes=4, threshold=1e9)
        assert result["open_iou"] == result["miou"]

    @pytest.mark.parametrize("seed", range(4))
    def test_threshold_equals_roc_curve(self, seed):
        _, scores, labels = random_pixels(seed)
        scores = scores.round(seed + 1)
        used = labels != IGNORE
        anomalous = labels[used] == OUTLIER
        _, tpr, thresholds = roc_curve(anomalous, scores[used], drop_intermediate=False)
        expected = thresholds[np.flatnonzero(tpr > 0.95)[0]]
        assert rejection_threshold(scores[labels == OUTLIER]) == expected

    def test_threshold_by_hand(self):
        # 19 of 20 are 95 %, which is not more than 95 %.
        assert rejection_threshold(np.arange(20)) == 0
        assert rejection_threshold(np.arange(40)) == 1
        assert rejection_threshold(np.arange(10), tpr=0) == 9
        assert rejection_threshold(np.array([3.0, 3, 3, 1]), tpr=0.7) == 3


class TestAccumulation:
    def test_order_merge_flips(self):
        images = [random_pixels(seed) for seed in range(5)]
        whole = OpenSetMetrics(4, threshold=0.5)
        whole.update(*(np.concatenate(parts) for parts in zip(*images, strict=True)))
        merged = OpenSetMetrics(4, threshold=0.5)
        for part in (images[3:], [], images[:3]):
            metrics = OpenSetMetrics(4, threshold=0.5)
            for image in part:
                metrics.update(*(np.flip(array) for array in image))
            merged.merge(metrics)
        assert (merged.counts == whole.counts).all()
        assert merged.compute() == whole.compute()

    def test_confusions(self):
        metrics = OpenSetMetrics(2, threshold=0.5)
        metrics.update(
            np.array([0, 1, 1, 0]), np.array([0.0, 1, 0, 1]), np.array([0, 0, OUTLIER, OUTLIER])
        )
        assert metrics.closed_confusion.tolist() == [[1, 1], [0, 0]]
        assert metrics.open_confusion.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
        assert class_ious(metrics.open_confusion) == pytest.approx([1 / 2, 0, 1 / 3])

    def test_inputs_unchanged(self):
        arrays = random_pixels(1)
        before = [array.copy() for array in arrays]
        OpenSetMetrics(4, threshold=0.5).update(*arrays)
        assert all((a == b).all() for a, b in zip(arrays, before, strict=True))


class TestBadInput:
    @pytest.mark.parametrize(
        ("classes", "scores", "labels", "error", "message"),
        [
            ([0, 1], [0.0], [0], ValueError, r"classes and labels must have one shape"),
            ([0], [0.0, 1], [0], ValueError, r"scores and labels must have one shape"),
            ([0], [math.nan], [0], ValueError, "1 NaN"),
            ([2], [0.0], [0], ValueError, r"classes must lie in 0..1, got 2..2; take the arg-max"),
            (
                [0],
                [0.0],
                [19],
                ValueError,
                r"labels must be 0..1 .* got also \[19\]",
            ),
            ([0.0], [0.0], [0], TypeError, "classes must be integers, got float64"),
            ([0], [0.0], [0.0], TypeError, "labels must be integers, got float64"),
        ],
    )
    def test_maps(self, classes, scores, labels, error, message):
        with pytest.raises(error, match=message):
            open_set(classes, scores, labels)

    def test_settings(self):
        with pytest.raises(ValueError, match="at least 1, got 0"):
            OpenSetMetrics(0, threshold=0)
        with pytest.raises(ValueError, match="got NaN"):
            OpenSetMetrics(2, threshold=math.nan)

    def test_merge(self):
        metrics = OpenSetMetrics(2, threshold=0)
        with pytest.raises(TypeError, match="expects an OpenSetMetrics, got int"):
            metrics.merge(1)
        with pytest.raises(ValueError, match="same num_classes can be merged, got 2 and 3"):
            metrics.merge(OpenSetMetrics(3, threshold=0))

    @pytest.mark.parametrize(
        ("scores", "tpr", "message"),
        [([], 0.95, "at least one"), ([math.nan], 0.95, "NaN"), ([1.0], 1.0, r"\[0, 1\), got 1.0")],
    )
    def test_threshold(self, scores, tpr, message):
        with pytest.raises(ValueError, match=message):
            rejection_threshold(np.array(scores), tpr)
