"""Instance-level average precision, class-agnostic, for datasets with instance labels.

As COCO's (Lin et al., "Microsoft COCO", ECCV 2014) for one class without limits of size or number,
which OoDIS (Nekrasov et al., "OoDIS: Anomaly Instance Segmentation Benchmark", 2024) takes over:

    score map > threshold -> components, each with one score -> instance_matches per IoU threshold
    matches of all images, by falling score -> precision at 101 recalls -> mean over IoU thresholds
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_seg.arrays import as_numpy
from ood_seg.labels import ANOMALY, IGNORE, KNOWN
from ood_seg.metrics.checks import above, checked_arrays
from ood_seg.metrics.overlaps import label_components, overlaps

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RANKS = ("mean", "max")

_RECALLS = np.linspace(0, 1, 101)


class InstanceAP:
    """Collects predicted and true instances image by image; `compute` gives the AP over all.

    Predicted instances are the 8-connected components of `score > threshold` outside ignored
    pixels. True instances are whatever carries one number, connected or not. Memory: 18 bytes per
    predicted instance. Instances with equal scores rank in the order of the updates, as in COCO;
    apart from such ties the order of the updates and merges does not matter.

    Args:
        threshold: scores above it are predicted anomalous.
        rank_by: 'mean' or 'max' of the scores in a component, which ranks it.
        min_area: smaller predicted components are dropped.
        ignore_index: label of the pixels to leave out; no instance may have this number.

    Raises:
        ValueError: another `rank_by`, or a threshold that is NaN.
    """

    def __init__(
        self,
        *,
        threshold: float,
        rank_by: str = "mean",
        min_area: int = 1,
        ignore_index: int = IGNORE,
    ) -> None:
        if rank_by not in RANKS:
            raise ValueError(f"rank_by must be one of {RANKS}, got {rank_by!r}")
        if np.isnan(threshold):
            raise ValueError("threshold must be a number, got NaN")
        self.threshold = float(threshold)
        self.rank_by = rank_by
        self.min_area = min_area
        self.ignore_index = ignore_index
        self._scores: list[np.ndarray] = []
        self._matched: list[np.ndarray] = []
        self._num_truths = 0

    def update(self, scores: Any, instances: Any) -> None:
        """Add one image.

        Args:
            scores: anomaly scores `(H, W)`, higher means more anomalous.
            instances: integers `(H, W)`: 0 known, `ignore_index`, any other value above 0
                the instance of that number.

        Raises:
            ValueError: not one image, shapes differ, a score is not finite, or an instance has a
                negative number.
            TypeError: scores are not real or instances not integers.
        """
        instances = _checked_instances(instances, self.ignore_index)
        ignored, truth = instances == self.ignore_index, instances > 0
        labels = np.where(ignored, self.ignore_index, np.where(truth, ANOMALY, KNOWN))
        flat_scores, _ = checked_arrays(scores, labels, self.ignore_index)
        scores = flat_scores.reshape(instances.shape)
        mask = above(scores, self.threshold) & ~ignored
        predicted, area = label_components(mask)
        ranks = _component_scores(predicted, scores, area, self.rank_by)
        numbers, truth_area = np.unique(instances[truth & ~ignored], return_counts=True)
        # Arbitrary integers become 1, 2, ... so that tables of pairs stay small.
        compact = np.where(labels == ANOMALY, np.searchsorted(numbers, instances) + 1, 0)
        matched = instance_matches(compact, truth_area, predicted, area, ranks)
        large = area >= self.min_area
        self._scores.append(ranks[large])
        self._matched.append(matched[large])
        self._num_truths += truth_area.size

    def merge(self, other: InstanceAP) -> None:
        """Add all instances of `other`, which stays as it is.

        Raises:
            TypeError: `other` is not an `InstanceAP`.
            ValueError: it has other settings.
        """
        if not isinstance(other, InstanceAP):
            raise TypeError(f"merge expects an InstanceAP, got {type(other).__name__}")
        for name in ("threshold", "rank_by", "min_area", "ignore_index"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"only metrics with the same {name} can be merged, got "
                    f"{getattr(self, name)} and {getattr(other, name)}"
                )
        self._scores.extend(other._scores)
        self._matched.extend(other._matched)
        self._num_truths += other._num_truths

    def compute(self) -> dict[str, float]:
        """`ap`, mean over IoU thresholds 0.5 to 0.95, and `ap50`, at 0.5, as fractions of 1.

        Both are NaN where there is no true instance, and 0 where there is no predicted one.
        """
        if not self._num_truths:
            return {"ap": float("nan"), "ap50": float("nan")}
        order = np.argsort(-np.concatenate(self._scores), kind="stable")
        matched = np.concatenate(self._matched)[order]
        values = [average_precision(column, self._num_truths) for column in matched.T]
        return {"ap": float(np.mean(values)), "ap50": values[0]}


def instance_matches(
    truth: np.ndarray,
    truth_area: np.ndarray,
    predicted: np.ndarray,
    area: np.ndarray,
    scores: np.ndarray,
) -> np.ndarray:
    """Which predicted instances find a true one, at each IoU threshold.

    COCO lets predictions choose by falling score, each the best true instance that is left. Where
    instances of one map never overlap, as here, a pair with an IoU above 1/2 has no rival, and
    at exactly 1/2 only two predictions that are its two halves share one true instance: the one
    with the higher score takes it.

    Args:
        truth: numbers 1 to T of the true instances, 0 elsewhere, `(H, W)`.
        truth_area: their pixels, `(T,)`.
        predicted: numbers 1 to P of the predicted instances, 0 elsewhere, `(H, W)`.
        area: their pixels, `(P,)`.
        scores: their scores, `(P,)`.

    Returns:
        Boolean array `(P, 10)`.
    """
    of_truth, of_predicted, shared = overlaps(truth, predicted)
    iou = shared / (truth_area[of_truth] + area[of_predicted] - shared)
    order = np.argsort(-scores[of_predicted], kind="stable")
    of_truth, of_predicted, iou = of_truth[order], of_predicted[order], iou[order]
    matched = np.zeros((area.size, IOU_THRESHOLDS.size), bool)
    for column, threshold in enumerate(IOU_THRESHOLDS):
        enough = iou >= threshold
        _, first = np.unique(of_truth[enough], return_index=True)
        matched[of_predicted[enough][first], column] = True
    return matched


def average_precision(matched: np.ndarray, num_truths: int) -> float:
    """Mean, over the recalls 0, 0.01, ..., 1, of the best precision at this recall or more.

    Args:
        matched: whether each prediction is right, by falling score, `(P,)`.
        num_truths: true instances, at least 1.
    """
    correct = np.cumsum(matched)
    precision = correct / np.arange(1, matched.size + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # A recall that is never reached has precision 0.
    reached = np.searchsorted(correct / num_truths, _RECALLS)
    return float(np.append(best, 0.0)[reached].mean())


def _component_scores(
    components: np.ndarray, scores: np.ndarray, area: np.ndarray, rank_by: str
) -> np.ndarray:
    """Mean or maximum of `scores` in each component, `(P,)` float64."""
    inside = components > 0
    numbers, values = components[inside] - 1, scores[inside].astype(np.float64)
    if rank_by == "mean":
        return np.bincount(numbers, values, minlength=area.size) / area
    highest = np.full(area.size, -np.inf)
    np.maximum.at(highest, numbers, values)
    return highest


def _checked_instances(instances: Any, ignore_index: int) -> np.ndarray:
    """One map `(H, W)` of integers, none below 0 but `ignore_index`."""
    instances = as_numpy(instances)
    if instances.ndim != 2:
        raise ValueError(f"instances must be one map of shape (H, W), got {instances.shape}")
    if instances.dtype.kind not in "iu":
        raise TypeError(f"instances must be integers, got {instances.dtype}")
    wrong = (instances < 0) & (instances != ignore_index)
    if wrong.any():
        raise ValueError(
            f"instances must be numbered above 0, got {instances[wrong][0]}; is it the ignored "
            f"label (ignore_index={ignore_index})?"
        )
    return instances
