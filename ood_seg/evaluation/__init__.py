"""Metrics for mmengine's evaluator; importing this package registers them with mmseg."""

from ood_seg.evaluation.anomaly_metric import AnomalyMetric
from ood_seg.evaluation.known_iou_metric import KnownIoUMetric

__all__ = ["AnomalyMetric", "KnownIoUMetric"]
