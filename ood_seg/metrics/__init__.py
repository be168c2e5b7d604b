"""Metrics of anomaly score maps; NumPy and torch only."""

from ood_seg.metrics.bootstrap import bootstrap_metrics, compare_methods
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.pixel import PixelMetrics, metrics_from_scores, pixel_metrics

__all__ = [
    "PixelMetrics",
    "ScoreHistogram",
    "bootstrap_metrics",
    "compare_methods",
    "metrics_from_scores",
    "pixel_metrics",
]
