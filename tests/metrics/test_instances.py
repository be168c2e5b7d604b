"""Instance AP against COCO's own evaluation, a slow reference and cases worked by hand."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from scipy import ndimage

from ood_seg.metrics.instances import IOU_THRESHOLDS, InstanceAP, average_precision

EIGHT = np.ones((3, 3))


def instance_ap(*images, **settings) -> dict[str, float]:
    """AP over `(scores, instances)` pairs; scores above 0 are predicted by default."""
    metrics = InstanceAP(**{"threshold": 0.0, **settings})
    for scores, instances in images:
        metrics.update(scores, instances)
    return metrics.compute()


def row(*values) -> np.ndarray:
    return np.array([values])


def random_image(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles as instances, some hiding others, and a score map that finds most of them."""
    rng = np.random.default_rng(seed)
    instances = np.zeros((40, 50), np.int64)
    scores = np.full(instances.shape, -1.0)
    for number in rng.permutation(np.arange(1, 9))[: rng.integers(1, 8)]:
        y, x, height, width = (int(rng.integers(low, 40)) for low in (0, 0, 3, 3))
        height, width = height // 3 + 1, width // 3 + 1
        instances[y : y + height, x : x + width] = 100 * number
        dy, dx = rng.integers(-1, 2, size=2)
        part = np.s_[max(y + dy, 0) : y + height, max(x + dx, 0) : x + width]
        if rng.random() < 0.8:
            scores[part] = rng.random(scores[part].shape) + rng.random()
    scores[rng.random(scores.shape) < 0.02] = 0.7
    return scores, instances


def predicted_instances(scores: np.ndarray, rank_by) -> list[tuple[float, np.ndarray]]:
    """Score and mask of each component, by scipy."""
    components, count = ndimage.label(scores > 0, EIGHT)
    masks = [components == number for number in range(1, count + 1)]
    return [(float(rank_by(scores[mask])), mask) for mask in masks]


def coco_precision(images: list, rank_by) -> tuple[float, float]:
    """AP and AP50 by pycocotools, without its limit of 100 detections."""
    mask_api = pytest.importorskip("pycocotools.mask")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    encode = lambda mask: mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))  # noqa: E731
    truths, results = [], []
    for image_id, (scores, instances) in enumerate(images, start=1):
        common = {"image_id": image_id, "category_id": 1}
        for number in np.unique(instances[instances > 0]):
            mask = instances == number
            truth = {"id": len(truths) + 1, "area": int(mask.sum()), "iscrowd": 0}
            truths.append({**common, **truth, "segmentation": encode(mask)})
        for score, mask in predicted_instances(scores, rank_by):
            results.append({**common, "score": score, "segmentation": encode(mask)})
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "info": {},
            "images": [
                {"id": number, "height": instances.shape[0], "width": instances.shape[1]}
                for number, (_, instances) in enumerate(images, start=1)
            ],
            "categories": [{"id": 1}],
            "annotations": truths,
        }
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(results), "segm")
        evaluation.params.maxDets = [10_000]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]
    return precision.mean(), precision[0].mean()


def slow_precision(images: list, rank_by) -> list[float]:
    """AP at each IoU threshold: every prediction in turn takes the best instance that is left."""
    values = []
    for threshold in IOU_THRESHOLDS:
        ranked, total = [], 0
        for scores, instances in images:
            left = [instances == number for number in np.unique(instances[instances > 0])]
            total += len(left)
            for score, mask in sorted(predicted_instances(scores, rank_by), key=lambda p: -p[0]):
                ious = [(mask & truth).sum() / (mask | truth).sum() for truth in left]
                found = bool(ious) and max(ious) >= threshold
                if found:
                    left.pop(int(np.argmax(ious)))
                ranked.append((score, found))
        ranked.sort(key=lambda pair: -pair[0])
        best_at = []
        for recall in np.linspace(0, 1, 101):
            correct, precisions = 0, [0.0]
            for rank, (_, found) in enumerate(ranked, start=1):
                correct += found
                if correct / total >= recall:
                    precisions.append(correct / rank)
            best_at.append(max(precisions))
        values.append(np.mean(best_at))
    return values


@pytest.mark.parametrize(("rank_by", "function"), [("mean", np.mean), ("max", np.max)])
class TestReferences:
    def test_equals_pycocotools(self, rank_by, function):
        images = [random_image(seed) for seed in range(30)]
        ap, ap50 = coco_precision(images, function)
        assert 0.05 < ap < ap50 < 0.95
        expected = {"ap": ap, "ap50": ap50}
        assert instance_ap(*images, rank_by=rank_by) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("seed", range(0, 15, 3))
    def test_equals_slow_reference(self, rank_by, function, seed):
        images = [random_image(seed + offset) for offset in range(3)]
        values = slow_precision(images, function)
        expected = {"ap": np.mean(values), "ap50": values[0]}
        assert instance_ap(*images, rank_by=rank_by) == pytest.approx(expected, abs=1e-12)


class TestByHand:
    def test_perfect(self):
        image = row(1.0, 1, 0, 2), row(7, 7, 0, 3)
        assert instance_ap(image) == {"ap": 1, "ap50": 1}

    def test_one_of_two_found_after_a_false_alarm(self):
        # Precision 1/2 at recall 1/2: recalls 0 to 0.5 are 51 of the 101 points.
        image = row(1.0, 0, 3, 0, 0), row(1, 0, 0, 0, 2)
        assert instance_ap(image)["ap"] == pytest.approx(51 / 101 / 2)

    def test_iou_decides(self):
        # IoU 3/4: right at 0.5, 0.55, ..., 0.75, that is at 6 of the 10 thresholds.
        image = row(1.0, 1, 1, 0), row(1, 1, 1, 1)
        assert instance_ap(image) == pytest.approx({"ap": 0.6, "ap50": 1})

    def test_split_instance_is_taken_once_at_one_half(self):
        # Both halves have IoU 1/2; the higher score takes the instance, the other is false.
        image = row(1.0, 0, 2), row(1, 0, 1)
        assert instance_ap(image) == pytest.approx({"ap": 0.1, "ap50": 1})
        # A false alarm between the two halves changes nothing, one above both halves does.
        between = row(1.5), row(0)
        above = row(5.0), row(0)
        assert instance_ap(image, between)["ap50"] == 1
        assert instance_ap(image, above)["ap50"] == pytest.approx(0.5)

    def test_prediction_over_two_instances(self):
        # IoU 2/4 with either: one is found at 0.5.
        image = row(1.0, 1, 1, 1), row(1, 1, 2, 2)
        assert instance_ap(image)["ap50"] == pytest.approx(51 / 101)

    def test_mean_and_max_rank_differently(self):
        # Right: mean 2, max 3. False: mean 2.5, max 2.5.
        image = row(1.0, 3, 0, 2.5), row(1, 1, 0, 0)
        assert instance_ap(image, rank_by="mean")["ap50"] == pytest.approx(0.5)
        assert instance_ap(image, rank_by="max")["ap50"] == 1

    def test_ignored_pixels_leave_prediction_and_truth(self):
        image = row(1.0, 1, 1, 0, 1), row(255, 4, 4, 0, 255)
        assert instance_ap(image) == {"ap": 1, "ap50": 1}
        assert instance_ap((image[0], row(-1, 4, 4, 0, -1)), ignore_index=-1)["ap"] == 1

    def test_small_predictions_are_dropped(self):
        image = row(1.0, 1, 0, 5), row(1, 1, 0, 0)
        assert instance_ap(image)["ap"] == pytest.approx(0.5)
        assert instance_ap(image, min_area=2)["ap"] == 1

    def test_average_precision(self):
        # Precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3: 34 points at 1, 33 at 2/3.
        value = average_precision(np.array([True, False, True]), 3)
        assert value == pytest.approx((34 + 33 * 2 / 3) / 101)


class TestLimitsAndMerging:
    def test_nothing_to_find_and_nothing_found(self):
        assert all(math.isnan(value) for value in instance_ap((row(1.0), row(0))).values())
        assert all(math.isnan(value) for value in instance_ap().values())
        assert instance_ap((row(-1.0), row(3))) == {"ap": 0, "ap50": 0}

    def test_order_merge_flips(self):
        images = [random_image(seed) for seed in range(8)]
        expected = pytest.approx(instance_ap(*images), abs=1e-12)
        assert instance_ap(*reversed(images)) == expected
        assert instance_ap(*((np.flip(s, 1), np.flip(i, 1)) for s, i in images)) == expected
        total = InstanceAP(threshold=0)
        for part in (images[:3], [], images[3:]):
            metrics = InstanceAP(threshold=0)
            for image in part:
                metrics.update(*image)
            total.merge(metrics)
        assert total.compute() == expected

    def test_numbers_of_instances_do_not_matter(self):
        scores, instances = random_image(5)
        renamed = np.where(instances > 0, 10**12 - instances, 0)
        assert instance_ap((scores, renamed)) == instance_ap((scores, instances))


class TestBadInput:
    def test_settings(self):
        with pytest.raises(ValueError, match=r"one of \('mean', 'max'\), got 'median'"):
            InstanceAP(threshold=0, rank_by="median")
        with pytest.raises(ValueError, match="got NaN"):
            InstanceAP(threshold=math.nan)

    @pytest.mark.parametrize(
        ("scores", "instances", "error", "message"),
        [
            (row(1.0), np.zeros((1, 1, 1), int), ValueError, r"\(H, W\), got \(1, 1, 1\)"),
            (row(1.0), row(1.0), TypeError, "integers, got float64"),
            (row(1.0), row(-1), ValueError, r"above 0, got -1; is it the ignored label"),
            (row(1.0, 2), row(1), ValueError, r"one shape, got \(1, 2\) and \(1, 1\)"),
            (row(math.inf), row(1), ValueError, "1 infinite"),
        ],
    )
    def test_maps(self, scores, instances, error, message):
        with pytest.raises(error, match=message):
            instance_ap((scores, instances))

    def test_merge(self):
        metrics = InstanceAP(threshold=0)
        with pytest.raises(TypeError, match="expects an InstanceAP, got list"):
            metrics.merge([])
        with pytest.raises(ValueError, match="same rank_by can be merged, got mean and max"):
            metrics.merge(InstanceAP(threshold=0, rank_by="max"))
