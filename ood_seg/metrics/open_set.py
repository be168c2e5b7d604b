"""The price of anomaly detection on the known classes: closed-set mIoU and open-set mIoU.

Grcic et al., "DenseHybrid: Hybrid Anomaly Detection for Dense Open-set Recognition", ECCV 2022,
also used in "On Advantages of Mask-level Recognition for Outlier-aware Segmentation", CVPRW 2023.
A pixel whose anomaly score exceeds a threshold is rejected, that is, assigned to an extra class
K + 1. With the confusions of all K + 1 classes, for each known class k:

    open-IoU_k = TP_k / (TP_k + FP_k + FN_k)

where FP_k also counts anomalies that were accepted and called k, and FN_k also counts pixels of k
that were rejected. open-mIoU is the mean over the K known classes only. With nothing rejected and
no anomaly in the images it is the usual mIoU; the difference to it is the price of the open world.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ood_seg.arrays import as_numpy
from ood_seg.labels import IGNORE, OUTLIER, require_distinct_labels
from ood_seg.metrics.checks import above, checked_arrays


class OpenSetMetrics:
    """Counts confusions image by image; `compute` gives both means over all pixels so far.

    The published threshold is `rejection_threshold` on other images than those evaluated (the
    authors swap two halves of StreetHazards and average the two results by number of images).
    The result depends neither on the order of the updates nor on how they are divided among
    merged objects.

    Args:
        num_classes: number K of known classes.
        threshold: a pixel is rejected where `score > threshold`.
        outlier_index: label of anomalous pixels.
        ignore_index: label of the pixels to leave out.

    Raises:
        ValueError: no class, a class with the label of outliers or of ignored pixels, or a
            threshold that is NaN.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        threshold: float,
        outlier_index: int = OUTLIER,
        ignore_index: int = IGNORE,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        require_distinct_labels(num_classes, outlier_index=outlier_index, ignore_index=ignore_index)
        if np.isnan(threshold):
            raise ValueError("threshold must be a number, got NaN")
        self.num_classes = num_classes
        self.threshold = float(threshold)
        self.outlier_index = outlier_index
        self.ignore_index = ignore_index
        # Pixels by true class (the last: anomalous), by predicted class, accepted or rejected.
        self.counts = np.zeros((num_classes + 1, num_classes, 2), np.int64)

    def update(self, classes: Any, scores: Any, labels: Any) -> None:
        """Add the pixels of one or more images.

        Args:
            classes: predicted known classes, integers 0..K-1, any shape.
            scores: anomaly scores of the same shape, higher means more anomalous.
            labels: same shape: 0..K-1 known, `outlier_index`, `ignore_index`.

        Raises:
            ValueError: shapes differ, a score is not finite, a label or a predicted class has no
                meaning.
            TypeError: scores are not real, or classes or labels not integers.
        """
        classes, labels = _whole_numbers(classes, "classes"), _whole_numbers(labels, "labels")
        if classes.shape != labels.shape:
            raise ValueError(
                f"classes and labels must have one shape, got {classes.shape} and {labels.shape}"
            )
        truth = self._true_classes(labels)
        valid = labels.reshape(-1) != self.ignore_index
        # Only the scores are checked here: labels of zeros and ignored ones do for that.
        checked = np.where(valid, 0, IGNORE).reshape(labels.shape)
        scores, _ = checked_arrays(scores, checked, IGNORE)
        classes = classes.reshape(-1)[valid].astype(np.int64)
        if classes.size and not 0 <= classes.min() <= classes.max() < self.num_classes:
            raise ValueError(
                f"classes must lie in 0..{self.num_classes - 1}, got {classes.min()}.."
                f"{classes.max()}; take the arg-max over the known classes only"
            )
        rejected = above(scores[valid], self.threshold)
        cells = (truth[valid] * self.num_classes + classes) * 2 + rejected
        self.counts += np.bincount(cells, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: OpenSetMetrics) -> None:
        """Add all pixels of `other`, which stays as it is.

        Raises:
            TypeError: `other` is not an `OpenSetMetrics`.
            ValueError: its threshold or number of classes differs.
        """
        if not isinstance(other, OpenSetMetrics):
            raise TypeError(f"merge expects an OpenSetMetrics, got {type(other).__name__}")
        for name in ("threshold", "num_classes"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"only metrics with the same {name} can be merged, got "
                    f"{getattr(self, name)} and {getattr(other, name)}"
                )
        self.counts += other.counts

    def compute(self) -> dict[str, float]:
        """`miou` (closed set) and `open_iou` (open-mIoU) as fractions of 1.

        A class that occurs neither in the ground truth nor in the prediction is left out of a
        mean, as in mmseg and in the authors' code; NaN where that leaves no class.
        """
        return {
            "miou": _mean(class_ious(self.closed_confusion)),
            "open_iou": _mean(class_ious(self.open_confusion)[:-1]),
        }

    @property
    def closed_confusion(self) -> np.ndarray:
        """`(K, K)` pixels by true and predicted class, anomalies ignored, nothing rejected."""
        return self.counts[:-1].sum(axis=2)

    @property
    def open_confusion(self) -> np.ndarray:
        """`(K+1, K+1)` pixels by true and predicted class; last: anomalous, rejected."""
        rejected = self.counts[:, :, 1].sum(axis=1, keepdims=True)
        return np.concatenate([self.counts[:, :, 0], rejected], axis=1)

    def _true_classes(self, labels: np.ndarray) -> np.ndarray:
        """Flat int64 classes 0..K (K: anomalous; any value at ignored pixels)."""
        known = (labels >= 0) & (labels < self.num_classes)
        outlier = labels == self.outlier_index
        meaningless = ~(known | outlier | (labels == self.ignore_index))
        if meaningless.any():
            raise ValueError(
                f"labels must be 0..{self.num_classes - 1} (known), {self.outlier_index} (anomaly) "
                f"or {self.ignore_index} (ignored), got also {np.unique(labels[meaningless])}"
            )
        return np.where(outlier, self.num_classes, labels).reshape(-1).astype(np.int64)


def class_ious(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for a class without any pixel.

    Args:
        confusion: square table of pixels, true classes in rows, predicted ones in columns.
    """
    intersection = np.diagonal(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - intersection
    with np.errstate(invalid="ignore"):
        return intersection / union


def rejection_threshold(anomalous: Any, tpr: float = 0.95) -> float:
    """Threshold as published: the highest score `t` such that more than `tpr` score at least `t`.

    Rejecting where `score > t`, as published too, then leaves out the anomalous pixels at `t`
    itself. The authors' ROC curve is thinned by scikit-learn and may end at a slightly lower `t`.

    Args:
        anomalous: scores of anomalous pixels, any shape; tensor or array.
        tpr: true-positive rate in [0, 1) to exceed.

    Raises:
        ValueError: there is no score, one is NaN, or `tpr` lies outside [0, 1).
    """
    anomalous = as_numpy(anomalous).reshape(-1)
    if not anomalous.size or np.isnan(anomalous).any():
        raise ValueError("the threshold needs at least one anomalous score and none that is NaN")
    if not 0 <= tpr < 1:
        raise ValueError(f"tpr must lie in [0, 1), got {tpr}")
    # The same quotients as in an ROC curve: 19 of 20 do not exceed 0.95.
    rates = np.arange(1, anomalous.size + 1) / anomalous.size
    lower = anomalous.size - 1 - np.searchsorted(rates, tpr, side="right")
    return float(np.partition(anomalous, lower)[lower])


def _whole_numbers(values: Any, name: str) -> np.ndarray:
    values = as_numpy(values)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {values.dtype}")
    return values


def _mean(values: np.ndarray) -> float:
    """Mean without NaN; NaN where nothing else is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
