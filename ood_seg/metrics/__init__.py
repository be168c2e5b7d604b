"""Metrics of anomaly score maps; NumPy, torch and OpenCV only."""

from ood_seg.metrics.bootstrap import bootstrap_metrics, compare_methods
from ood_seg.metrics.component import ComponentMetrics, component_metrics
from ood_seg.metrics.curves import pixel_curves
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.instances import InstanceAP
from ood_seg.metrics.open_set import OpenSetMetrics, rejection_threshold
from ood_seg.metrics.pixel import PixelMetrics, metrics_from_scores, pixel_metrics
from ood_seg.metrics.protocols import get_protocol

__all__ = [
    "ComponentMetrics",
    "InstanceAP",
    "OpenSetMetrics",
    "PixelMetrics",
    "ScoreHistogram",
    "bootstrap_metrics",
    "compare_methods",
    "component_metrics",
    "get_protocol",
    "metrics_from_scores",
    "pixel_curves",
    "pixel_metrics",
    "rejection_threshold",
]
