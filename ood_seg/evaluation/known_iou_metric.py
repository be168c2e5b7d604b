"""Closed-set IoU on scenes that also hold outlier pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import METRICS

from ood_seg.labels import IGNORE, OUTLIER, hide_outliers, require_distinct_labels


@METRICS.register_module()
class KnownIoUMetric(IoUMetric):
    """mmseg's `IoUMetric` with outlier pixels ignored.

    The labels are hidden on a copy, so the metric runs beside `AnomalyMetric`, which needs them,
    in one evaluator and in any order. A class that occurs neither in the prediction nor in the
    ground truth is left out of the means, as in mmseg. Metric names are mmseg's (`mIoU`, `aAcc`,
    `mAcc`), without a prefix.

    Args:
        outlier_index: label of outlier pixels in the ground truth.
        ignore_index: label of pixels to leave out, beside `IGNORE`; in a run, by default the one
            that the model's decode head ignores.
        per_class_table: log mmseg's table with one row per class.
        prediction: the labels to be evaluated: `pred_sem_seg`, or `branch_sem_seg` for those that
            an anomaly branch would give.
        **kwargs: as `IoUMetric`.
    """

    # An empty prefix keeps mmseg's metric names and, unlike None, is no reason for a warning.
    default_prefix = ""

    def __init__(
        self,
        *,
        outlier_index: int = OUTLIER,
        ignore_index: int = IGNORE,
        per_class_table: bool = True,
        prediction: str = "pred_sem_seg",
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_index=ignore_index, **kwargs)
        self.outlier_index = outlier_index
        self.per_class_table = per_class_table
        self.prediction = prediction

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch; the samples of the caller stay as they are.

        Raises:
            ValueError: more than 254 classes, which collide with the other label values, or a
                sample has no such prediction.
        """
        classes = (self.dataset_meta or {}).get("classes") or ()
        require_distinct_labels(len(classes), outlier_index=self.outlier_index)
        super().process(data_batch, [self._without_outliers(sample) for sample in data_samples])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """IoU and accuracy over all images, in percent with two digits.

        Raises:
            ValueError: no image was processed.
        """
        if not results and not self.format_only:
            raise ValueError(
                "KnownIoUMetric got no image; check that the dataset of this evaluator is not empty"
            )
        if self.per_class_table or self.format_only:
            return super().compute_metrics(results)
        areas = [sum(column) for column in zip(*results, strict=True)]
        values = self.total_area_to_metrics(*areas, self.metrics, self.nan_to_num, self.beta)
        return {
            name if name == "aAcc" else f"m{name}": np.round(np.nanmean(value) * 100, 2)
            for name, value in values.items()
        }

    def _without_outliers(self, sample: dict) -> dict:
        """A shallow copy of `sample` whose ground truth holds no outlier label."""
        if self.prediction not in sample:
            raise ValueError(
                f"the prediction has no {self.prediction}, only {', '.join(sorted(sample))}; "
                "branch_sem_seg is given by models with an anomaly_branch, a score of logits and "
                "keep_logits=True"
            )
        sample = {**sample, "pred_sem_seg": sample[self.prediction]}
        if self.format_only:
            return sample
        ground_truth = sample["gt_sem_seg"]
        labels = hide_outliers(
            ground_truth["data"],
            outlier_index=self.outlier_index,
            ignore_index=self.ignore_index,
        )
        labels = labels.masked_fill(labels == IGNORE, self.ignore_index)
        return {**sample, "gt_sem_seg": {**ground_truth, "data": labels}}
